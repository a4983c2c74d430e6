"""SwAV's linear classifier on the frozen ResNet-50.

Paper: Caron et al. 2020, arXiv:2006.09882. Reported: 75.3 % top-1 after 800 epochs (README of SwAV). Not run here.

eval_linear.py: 100 epochs, batch 256, rate 0.3 along a cosine to 0 that moves once per epoch, momentum 0.9 without
Nesterov, weight decay 1e-6, no batch norm, weights from N(0, 0.01), crops and flips.

Sized for batch 256, here as 8 processes with 32 images each.

Command: tools/dist_train.sh transfer/swav_linear_resnet50 8 --init-from work_dirs/swav_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.linear_resnet50 import model, train_dataloader

processes = 8
batch = 32 * processes  # 256

model.preprocess.std = (0.228, 0.224, 0.225)
train_dataloader.batch_size = batch // processes
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.3 * batch / 256, momentum=0.9, weight_decay=1e-6),
)
param_scheduler = dict(type="EpochCosine")
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
