"""SGD in float32 for the scenes: MoCo, BYOL and SimSiam come further with it than with AdamW."""

optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="fp32",
    optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=5e-4),
)
