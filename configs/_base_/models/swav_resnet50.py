"""SwAV's ResNet-50: head 2048-2048-128 with batch norm, 3,000 prototypes; 28,354,752 parameters."""

model = dict(
    type="SwAV",
    backbone=dict(type="ResNet", depth=50),
    neck=dict(type="ProjectionNeck", hidden_dims=(2048,), out_dim=128),
    prototypes=dict(type="Prototypes", num_prototypes=3000),
    loss=dict(type="SwAVLoss", temperature=0.1, epsilon=0.05, iterations=3),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.228, 0.224, 0.225)),  # 0.228 as in SwAV's code, not 0.229
)
