"""MoCo's linear classifier on the frozen ResNet-50.

Paper: He et al. 2020, arXiv:1911.05722. Reported: 60.6 % top-1 for v1, 67.7 % for v2 after 200 epochs, 71.1 % after
800 (README of MoCo). Not run here.

Rate 30 at batch 256 (README of MoCo), 100 epochs, no weight decay (mmpretrain's port of it), crops and flips. A tenth
of the rate after 60 and 80 epochs is from memory, to be read again; so is the backbone in eval mode.

Sized for batch 256, here as 8 processes with 32 images each.

Command: tools/dist_train.sh transfer/moco_linear_resnet50 8 --init-from work_dirs/moco_v2_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.linear_resnet50 import model, train_dataloader

processes = 8
batch = 32 * processes  # 256

train_dataloader.batch_size = batch // processes
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=30.0 * batch / 256, momentum=0.9, weight_decay=0.0),
)
param_scheduler = dict(type="MultiStep", epochs=(60, 80), factor=0.1)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
