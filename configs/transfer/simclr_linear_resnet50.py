"""SimCLR's linear classifier on the frozen ResNet-50.

Paper: Chen et al. 2020, arXiv:2002.05709. Reported: 69.1 % top-1 for the released weights (README of
google-research/simclr). Not run here.

The README's command: Nesterov momentum, rate 0.1 for 256 images at batch 4096, 90 epochs, no warm-up, weight decay
1e-6 (the paper's 0 is from memory), the classifier starting at zero, crops and flips; the code lets the rate fall along
a cosine.

Sized for batch 4096, here as 32 processes with 128 images each.

Command: tools/dist_train.sh transfer/simclr_linear_resnet50 32 --init-from work_dirs/simclr_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.linear_resnet50 import model, train_dataloader

processes = 32
batch = 128 * processes  # 4096

model.update(init_std=0.0, preprocess=dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
train_dataloader.batch_size = batch // processes
train_dataloader.views.interpolation = "bicubic"
input_contract = dict(interpolation="bicubic")  # of test images: google-research/simclr, tf2/data_util.py, center_crop
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.1 * batch / 256, momentum=0.9, nesterov=True, weight_decay=1e-6),
)
param_scheduler = dict(type="WarmupCosine")
train_cfg = dict(max_epochs=90)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
