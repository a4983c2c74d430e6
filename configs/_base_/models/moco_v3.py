"""MoCo v3's heads and teacher; recipes choose the backbone, and the depth of the neck with it."""

model = dict(
    type="MoCoV3",
    neck=dict(
        type="ProjectionNeck",
        hidden_dims=(4096,),
        out_dim=256,
        bias=False,
        last_bn=True,
        last_bn_weight=False,
        last_bn_bias=False,
    ),
    predictor=dict(type="ProjectionNeck", hidden_dims=(4096,), bias=False),
    loss=dict(type="InBatchInfoNCELoss", temperature=1.0),
    momentum=0.99,
    end_momentum=1.0,
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
