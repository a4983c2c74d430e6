"""What every run on one's own images has: SimCLR's head, AdamW, and what watches it."""

neck = dict(type="ProjectionNeck", out_dim=128, last_bn=True, last_bn_weight=False, last_bn_bias=False)
loss = dict(type="NTXentLoss", temperature=0.2)
preprocess = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    param_groups=[dict(kinds=("bias", "norm"), weight_decay=0.0)],
)
evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
    spread=dict(type="Spread"),
)
custom_hooks = [dict(type="NeighborsHook")]
