"""SEER's RegNetY-256GF fine-tuned on 50 % of Places205: as seer_places205_1percent_regnety256, with more images.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: a curve that could not be read. Not run here.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_places205_50percent_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.places205 import places205, tasks
    from .seer_low_shot_1percent_regnety256 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        train_cfg,
        train_dataloader,
    )

model.num_classes = 205
train_dataloader.dataset = dict(type="Subset", dataset=places205, fraction=0.5, stratified=True)
train_dataloader.num_images = 1_224_436  # but for the rounding of each class
