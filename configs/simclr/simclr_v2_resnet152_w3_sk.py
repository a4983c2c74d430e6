"""SimCLR v2's largest network: ResNet-152, three times as wide, selective kernels; simclr_v2_resnet50 in large.

Paper: Chen et al. 2020, arXiv:2006.10029, table 1. Reported: 79.8 % ImageNet top-1, linear probe, and fine-tuned
74.9 % with 1 %, 80.1 % with 10 % and 83.1 % with all of the labels, for the released weights of 795 million parameters
(README of google-research/simclr). Not run here.

Sized for batch 4096, here as 32 processes with 128 images each and activation checkpointing; length as in
simclr_v2_resnet50.

Command: tools/slurm_train.sh PARTITION simclr_v2 configs/simclr/simclr_v2_resnet152_w3_sk.py
"""

from mmengine.config import read_base

with read_base():
    from .simclr_v2_resnet50 import (
        auto_scale_lr,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        sync_bn,
        train_cfg,
        train_dataloader,
    )

model.backbone.update(depth=152, width=3, selective_kernels=True, checkpoint_stages=(1, 2, 3, 4))
model.neck.hidden_dims = (6144, 6144)  # as wide as the features: 3 * 2048
