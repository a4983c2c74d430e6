"""SEER's RegNetY-256GF fine-tuned on 1 % of Places205, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: a curve that could not be read. Not run here.

VISSL's code draws 1, 5, 10, 20 and 50 %, balanced or at random; here it is that share of every class, by a seed, and
each is contained in the next. 70 epochs, rate 0.05 for 256 images and a tenth of it after 30 epochs, no weight decay,
Nesterov momentum, crops and flips, batch norm synchronized over 8 processes: VISSL's config of
semi_supervised/places205 for this network.

Sized for 16 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_places205_1percent_regnety256 16 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.places205 import places205, tasks
    from .._base_.evals.imagenet_head import default_hooks, evaluators
    from .._base_.models.seer_classifier import model
    from .._base_.seer_low_shot import *

model.num_classes = 205
train_dataloader.update(
    dataset=dict(type="Subset", dataset=places205, fraction=0.01, stratified=True),
    num_images=24_489,  # but for the rounding of each class
)
