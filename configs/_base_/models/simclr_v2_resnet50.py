"""SimCLR v2's ResNet-50: head 2048-2048-2048-128, every linear layer without bias and followed by batch norm."""

model = dict(
    type="SimCLR",
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    neck=dict(
        type="ProjectionNeck", hidden_dims=(2048, 2048), out_dim=128, bias=False, last_bn=True, last_bn_bias=False
    ),
    loss=dict(type="NTXentLoss", temperature=0.1),
    preprocess=dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),  # SimCLR trains on [0, 1]
)
