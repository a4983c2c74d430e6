"""MoCo's ResNet-50, version 1: a linear neck; 23,770,304 parameters in each of student and teacher."""

model = dict(
    type="MoCo",
    backbone=dict(type="ResNet", depth=50),
    neck=dict(type="ProjectionNeck", hidden_dims=(), out_dim=128),
    loss=dict(type="InfoNCELoss", temperature=0.07),
    queue_length=65_536,
    momentum=0.999,
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
