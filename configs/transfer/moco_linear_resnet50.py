"""MoCo's linear classifier on the frozen ResNet-50.

Paper: He et al. 2020, arXiv:1911.05722. Reported: 60.6 % top-1 for v1, 67.7 % for v2 after 200 epochs, 71.1 % after
800 (README of MoCo). Not run here.

Rate 30 at batch 256 (README); 100 epochs without weight decay, as in mmpretrain's port; a tenth of the rate after 60
and 80 epochs: from memory, to be read again.

Sized for batch 256, here as 8 processes with 32 images each.

Command: tools/dist_train.sh transfer/moco_linear_resnet50 8 --init-from work_dirs/moco_v2_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 8
batch = 32 * processes  # 256

model = dict(
    type="LinearHeads",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
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
    optimizer=dict(type="SGD", lr=30.0 * batch / 256, momentum=0.9, weight_decay=0.0),
)
param_scheduler = dict(type="MultiStep", epochs=(60, 80), factor=0.1)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
