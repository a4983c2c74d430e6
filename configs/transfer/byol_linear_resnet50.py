"""BYOL's linear classifier on the frozen ResNet-50.

Paper: Grill et al. 2020, arXiv:2006.07733. Reported: 74.3 % top-1 (Papers with Code, by the authors). Not run here.

The code's configs/eval.py: Nesterov momentum 0.9, rate 0.2 for 256 images along a cosine, 80 epochs, no warm-up, no
weight decay; bicubic crops and flips. The batch is an option of its command, 1024 here.

Sized for batch 1024, here as 8 processes with 128 images each.

Command: tools/dist_train.sh transfer/byol_linear_resnet50 8 --init-from work_dirs/byol_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.linear_resnet50 import model, train_dataloader

processes = 8
batch = 128 * processes  # 1024

train_dataloader.batch_size = batch // processes
train_dataloader.views.interpolation = "bicubic"
input_contract = dict(interpolation="bicubic")  # of test images: deepmind-research/byol, utils/dataset.py
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.2 * batch / 256, momentum=0.9, nesterov=True, weight_decay=0.0),
)
param_scheduler = dict(type="WarmupCosine")
train_cfg = dict(max_epochs=80)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
