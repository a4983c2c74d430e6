"""SEER's linear classifiers on the frozen RegNetY-256GF, on iNaturalist 2018: on three layers.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: the table could not be read. Not run here.

As seer_linear_imagenet_regnety256, with a tenth of the rate after 24, 48 and 72 of 84 epochs, and batch norm over 128
images: VISSL's config for this network.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_linear_inat18_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .seer_linear_imagenet_regnety256 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        train_cfg,
        train_dataloader,
    )

model.num_classes = 8142
tasks = dict(inat18=dict(type="Task", test=dict(type="ImageList", root="data/inat18/val", labels="folder")))
train_dataloader.dataset.root = "data/inat18/train"
train_dataloader.num_images = 437_513
param_scheduler.epochs = (24, 48, 72)
train_cfg.max_epochs = 84
split = None
sync_bn = 16  # 128 images, VISSL's 8 processes with 16 each
