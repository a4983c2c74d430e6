"""SimCLR v2's second step with its largest network, which becomes the teacher of simclr_v2_distill_resnet50.

Paper: Chen et al. 2020, arXiv:2006.10029, table 1. Reported: 74.9 % ImageNet top-1 with 1 % of the labels for the
released weights (README of google-research/simclr); 80.1 % with 10 %. Not run here.

Everything but the network is as in simclr_v2_finetune_resnet50, the list of images too. Sized for batch 1024, here as 8
processes with 128 images each and activation checkpointing.

Command: tools/dist_train.sh configs/simclr/simclr_v2_finetune_resnet152_w3_sk.py 8 --init-from PRETRAINED
"""

from mmengine.config import read_base

with read_base():
    from .simclr_v2_finetune_resnet50 import (
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

model.backbone.update(depth=152, width=3, selective_kernels=True, checkpoint_stages=(1, 2, 3, 4))
model.neck.hidden_dims = (6144,)  # the first layer of simclr_v2_resnet152_w3_sk's head
