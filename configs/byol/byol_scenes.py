"""BYOL on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Grill et al. 2020, arXiv:2006.07733, at another size; there is no number to expect but our own, in
model_zoo.md and docs/experiments.md. Data and backbone are those of simclr_scenes, and the views but for half
their jitter. Both views are drawn alike: at 32 pixels there is no blur to tell them apart. The teacher keeps 0.99 of
itself a step at first, not 0.996, and starts as a copy. SGD instead of LARS, small batches, and a constant rate for the
predictor, as in SimSiam.

Sized for one process on two CPU cores.

Command: selfsup train byol/byol_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.scenes import scenes
    from .._base_.evals.scenes import evaluators, input_contract, tasks
    from .._base_.models.scenes_backbone import backbone
    from .._base_.optim.scenes_sgd import optim_wrapper
    from .._base_.runtime import default_hooks

batch = 64

model = dict(
    type="BYOL",
    backbone=backbone,
    neck=dict(type="ProjectionNeck", hidden_dims=(1024,), out_dim=256, last_bias=False),
    predictor=dict(type="ProjectionNeck", hidden_dims=(1024,), last_bias=False),
    loss=dict(type="CosineLoss"),
    momentum=0.99,
    teacher_init="copy",
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views={**scenes.pair, "strength": 0.25},
)
optim_wrapper.optimizer.lr = 0.1
optim_wrapper.param_groups = [dict(match="predictor.*", fixed_lr=True)]
param_scheduler = dict(type="WarmupCosine", warmup_steps=140)
train_cfg = dict(max_steps=2_800)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 4
