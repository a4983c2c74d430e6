"""SwAV's ResNet-50 fine-tuned on 10 % of ImageNet's labels, with two rates.

Paper: Caron et al. 2020, arXiv:2006.09882. Reported: 70.2 % top-1 (from memory, to be read again). Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/10percent.txt, 128,116 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

eval_semisup.py: batch 256, 20 epochs, rates times 0.2 after 12 and 16, no weight decay; 0.01 for the trunk and 0.2 for
the classifier; batch norm synchronized over all processes.

Sized for 8 GPUs with 32 images each.

Command: tools/dist_train.sh transfer/swav_finetune_10percent_resnet50 8 --init-from work_dirs/swav_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .swav_finetune_1percent_resnet50 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
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
optim_wrapper.optimizer.lr = 0.01
optim_wrapper.param_groups = [dict(match="classifier.*", lr_scale=0.2 / 0.01)]
