"""SEER's RegNetY-256GF fine-tuned on 1 % of ImageNet's labels, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: 60.5 % top-1. Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/1percent.txt, 12,811 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made. 70 epochs, rate 0.05
for 256 images and a tenth of it after 30 epochs, no weight decay, Nesterov momentum, crops and flips, batch norm
synchronized over 8 processes: VISSL's config of semi_supervised/imagenet1k for this network.

Sized for 16 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_low_shot_1percent_regnety256 16 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.models.seer_classifier import model
    from .._base_.seer_low_shot import *

train_dataloader.update(
    dataset=dict(
        type="ImageList", root="data/imagenet/train_1percent.txt", labels="column", prefix="data/imagenet/train"
    ),
    num_images=12_811,
)
