"""SEER's RegNetY-256GF fine-tuned on 5 % of Places205: as seer_places205_1percent_regnety256, with more images.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: a curve that could not be read. Not run here.

Sized for 16 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_places205_5percent_regnety256 16 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.places205 import places205, tasks
    from .._base_.evals.imagenet_head import default_hooks, evaluators
    from .._base_.models.seer_classifier import model
    from .._base_.seer_low_shot import *

model.num_classes = 205
train_dataloader.update(
    dataset=dict(type="Subset", dataset=places205, fraction=0.05, stratified=True),
    num_images=122_444,  # but for the rounding of each class
)
