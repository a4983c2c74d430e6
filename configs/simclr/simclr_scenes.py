"""SimCLR on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Chen et al. 2020, arXiv:2002.05709, with its CIFAR pipeline (jitter strength 0.5, no blur); there
is no number to expect but our own, in model_zoo.md. Every view draws a new background, so that only the emoji is common
to the views of a scene. Crops keep two fifths or more: an emoji of 20 pixels has no parts to tell apart.

Sized for one process on two CPU cores.

Command: selfsup train simclr/simclr_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.scenes import scenes
    from .._base_.evals.scenes import evaluators, input_contract, tasks
    from .._base_.models.scenes_backbone import backbone
    from .._base_.optim.scenes import optim_wrapper
    from .._base_.runtime import default_hooks

batch = 128

model = dict(
    type="SimCLR",
    backbone=backbone,
    neck=dict(
        type="ProjectionNeck", hidden_dims=(256,), out_dim=64, last_bn=True, last_bn_weight=False, last_bn_bias=False
    ),
    loss=dict(type="NTXentLoss", temperature=0.2),
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views=scenes.pair,
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=70)
train_cfg = dict(max_steps=720)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 4
