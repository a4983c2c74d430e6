"""SEER's RegNetY-256GF for fine-tuning: from the first layer of its head, with a fresh batch norm.

VISSL's models/regnet256Gf_swav_head.yaml.
"""

model = dict(
    type="Supervised",
    backbone=dict(type="RegNet", arch="y_256gf", checkpoint_stages=(1, 2, 3, 4)),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    neck=dict(type="HiddenLayers", hidden_dims=(8192,), bn=False, fresh_bn=True),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
