"""SEER's linear classifiers on the frozen RegNetY-256GF, on ImageNet: on three layers.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: 77.51 % top-1 (MODEL_ZOO.md of VISSL). Not run here.

VISSL's linear_image_classification, with models/regnet256Gf_1.yaml: rate 0.01 for 256 images, a tenth of it after 8, 16
and 24 of 28 epochs; weight decay 5e-4 on everything but batch norm, Nesterov momentum, crops and flips; res4 and res5
averaged to 2 x 1 and 1 x 2 places, and the pooled features; batch norm over the whole batch and a linear layer on each.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_linear_imagenet_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 32
batch = 8 * processes  # 256

model = dict(
    type="LinearHeads",
    backbone=dict(type="RegNet", arch="y_256gf"),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    layers=("res4:2x1", "res5:1x2", "pooled"),
    bn=True,
    image_size=224,
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    views=dict(type="SupervisedViews", size=224, jitter=0.0),
    num_images=1_281_167,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.01 * batch / 256, momentum=0.9, nesterov=True, weight_decay=5e-4),
    param_groups=[dict(kinds="norm", weight_decay=0.0)],
)
param_scheduler = dict(type="MultiStep", epochs=(8, 16, 24), factor=0.1)
train_cfg = dict(max_epochs=28)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = "all"
