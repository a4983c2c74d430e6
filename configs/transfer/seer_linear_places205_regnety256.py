"""SEER's linear classifiers on the frozen RegNetY-256GF, on Places205: on three layers.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: the table could not be read. Not run here.

As seer_linear_imagenet_regnety256, with a tenth of the rate after 4, 8 and 12 of 14 epochs.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_linear_places205_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.places205 import places205, tasks
    from .seer_linear_imagenet_regnety256 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        sync_bn,
        train_cfg,
        train_dataloader,
    )

model.num_classes = 205
train_dataloader.dataset = places205
train_dataloader.num_images = 2_448_873
param_scheduler.epochs = (4, 8, 12)
train_cfg.max_epochs = 14
split = None
