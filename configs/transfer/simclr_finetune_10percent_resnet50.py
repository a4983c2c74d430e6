"""SimCLR's ResNet-50 fine-tuned on 10 % of ImageNet's labels.

Paper: Chen et al. 2020, arXiv:2002.05709, appendix B.5. Reported: the table could not be read. Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/10percent.txt, 128,116 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

Nesterov momentum, rate 0.05 for 256 images at batch 4096, 30 epochs, no warm-up, crops and flips alone: from memory,
to be read again; so are the cosine and the missing weight decay.

Sized for batch 4096, here as 32 processes with 128 images each.

Command: tools/dist_train.sh transfer/simclr_finetune_10percent_resnet50 32 --init-from work_dirs/simclr_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .simclr_finetune_1percent_resnet50 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        input_contract,
        model,
        optim_wrapper,
        param_scheduler,
        sync_bn,
        tasks,
        train_cfg,
        train_dataloader,
    )

train_dataloader.dataset.root = "data/imagenet/train_10percent.txt"
train_dataloader.num_images = 128_116
train_cfg.max_epochs = 30
