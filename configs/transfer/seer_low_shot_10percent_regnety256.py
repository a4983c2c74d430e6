"""SEER's RegNetY-256GF fine-tuned on 10 % of ImageNet's labels, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: 77.9 % top-1. Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/10percent.txt, 128,116 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

70 epochs, rate 0.05 for 256 images and a tenth of it after 30 epochs, no weight decay, Nesterov momentum: VISSL's
defaults of semi_supervised/imagenet1k. Not in what could be read: the augmentation of low-shot training (crop and flip
here), and the batch.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_low_shot_10percent_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .seer_low_shot_1percent_regnety256 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        tasks,
        train_cfg,
        train_dataloader,
    )

train_dataloader.dataset.root = "data/imagenet/train_10percent.txt"
train_dataloader.num_images = 128_116
