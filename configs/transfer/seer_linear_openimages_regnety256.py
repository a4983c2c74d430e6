"""SEER's linear classifiers on the frozen RegNetY-256GF, on Open Images: on three layers.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: the table could not be read. Not run here.

VISSL's linear_image_classification: rate 0.003 for 256 images, 16 epochs; the shape of its schedule could not be read,
a cosine here; weight decay 1e-4, Nesterov momentum, crops and flips; res4 and res5 averaged to 3 x 1 and 2 x 1 places,
and the pooled features; batch norm and a linear layer on each. Several classes an image: the loss is a sigmoid for
each. All training images of the data set, versions 4 to 6; how many of them VISSL takes could not be read.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_linear_openimages_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .seer_linear_imagenet_regnety256 import (
        auto_scale_lr,
        default_hooks,
        model,
        optim_wrapper,
        train_cfg,
        train_dataloader,
    )

model.num_classes = 9605
model.loss.type = "BinaryCrossEntropyLoss"
train_dataloader.dataset = dict(
    type="ImageList", root="data/openimages/train.csv", labels="column", label_separator=";"
)
train_dataloader.num_images = 9_011_219
optim_wrapper.optimizer.lr = 0.003
optim_wrapper.optimizer.weight_decay = 1e-4
param_scheduler = dict(type="WarmupCosine")
train_cfg.max_epochs = 16
split = None
