"""SEER's method around a RegNetY: head without batch norm, 16,000 prototypes; recipes choose the backbone."""

model = dict(
    type="SwAV",
    backbone=dict(type="RegNet", checkpoint_stages=(1, 2, 3, 4)),
    neck=dict(type="ProjectionNeck", hidden_dims=(8192, 8192), out_dim=256, bn=False),
    prototypes=dict(type="Prototypes", num_prototypes=16_000),
    loss=dict(type="SwAVLoss", temperature=0.1, epsilon=0.05, iterations=10),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
