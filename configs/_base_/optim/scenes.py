"""AdamW in float32 for the scenes: in a thousand steps SGD and LARS hardly set out."""

optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="fp32",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
)
