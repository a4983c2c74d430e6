"""Photographs, 20,000 or more of them, on a GPU of 20 GB or more.

Paper: Caron et al. 2020, arXiv:2006.09882: SwAV, ResNet-50, as its runs at batch 256 have it: a queue of 15 batches,
learning rate 0.6 falling to 0.0006, no warm-up, four small crops. There is no number to expect: see model_zoo.md for
what was measured.

Sized for one GPU with 24 GB: 4 x 64 images.

Command: selfsup train --data FOLDER, which chooses it
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.folder import custom_hooks, evaluators
    from .._base_.models.swav_resnet50 import model

accumulate = 4
batch = 64 * accumulate  # 256

model.prototypes.num_prototypes = 1000
model.queue_length = 15 * batch  # 3840
model.queue_start_epoch = 1  # the paper's 15 of 400 epochs may be more than a run of hours has
train_dataloader = dict(
    batch_size=batch // accumulate,
    num_workers=8,
    dataset=unlabelled,
    views=dict(type="SwAVViews", sizes=(224, 96), counts=(2, 4), scales=((0.14, 1.0), (0.05, 0.14))),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    accumulative_counts=accumulate,
    optimizer=dict(type="LARS", variant="larc", lr=0.6, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.001),
    freeze=dict(prototypes=500),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=0, end_lr=0.0006)
train_cfg = dict(max_steps=50_000)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 0
