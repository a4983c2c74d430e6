"""BiT-L, ResNet-152x4: bit_s_resnet50 with the largest network on 300 million images.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3 and table 1. Reported: after transfer, top-1 of 87.54 % on
ILSVRC-2012, 99.37 % on CIFAR-10, 93.51 % on CIFAR-100, 96.62 % on Pets, 99.63 % on Flowers; 76.29 % on VTAB.
Not run here.

The paper's JFT-300M (18,291 classes) is not public: ``data/images.csv`` stands for a list of your own with the columns
path and label, several labels of an image separated by semicolons. 40 epochs, a tenth of the rate after each of 10, 23,
30 and 37. The loss for several labels is that of ImageNet-21k, which was read in code, see bit_m_resnet101_w3; which
one the paper takes for JFT was not found.

Sized for 512 processes with 8 images each, the paper's number of TPU chips.

Command: tools/slurm_train.sh PARTITION bit_l configs/bit/bit_l_resnet152_w4.py
"""

from mmengine.config import read_base

with read_base():
    from .bit_s_resnet50 import (
        auto_scale_lr,
        batch,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        train_cfg,
        train_dataloader,
    )

processes = 512

model.backbone.update(depth=152, width=4, checkpoint_stages=(1, 2, 3, 4))
model.update(num_classes=18_291, loss=dict(type="BinaryCrossEntropyLoss"), head_bias=-10.0)
train_dataloader.update(
    batch_size=batch // processes,
    dataset=dict(type="ImageList", root="data/images.csv", labels="column", label_separator=";"),
    num_images=300_000_000,
)
param_scheduler.epochs = (10, 23, 30, 37)
train_cfg.max_epochs = 40
evaluate_every = 1
default_hooks.checkpoint.every_steps = 1_000
