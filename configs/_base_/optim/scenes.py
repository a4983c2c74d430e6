"""AdamW in float32 for the scenes: one learning rate does for most methods."""

optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="fp32",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
)
