"""BiT's upstream model: group norm and weight standardization, classifier starting at zero, images in [-1, 1]."""

model = dict(
    type="Supervised",
    backbone=dict(type="BiTResNet"),
    zero_init_head=True,
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
