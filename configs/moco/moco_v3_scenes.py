"""MoCo v3 on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Chen et al. 2021, arXiv:2104.02057, at another size; there is no number to expect but our own, in
model_zoo.md. Data, views and backbone are those of simclr_scenes. Both views are drawn alike: at 32 pixels there is no
blur to tell them apart.

Sized for one process on two CPU cores.

Command: selfsup train moco/moco_v3_scenes
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
    type="MoCoV3",
    backbone=backbone,
    neck=dict(
        type="ProjectionNeck", hidden_dims=(256,), out_dim=64, last_bn=True, last_bn_weight=False, last_bn_bias=False
    ),
    predictor=dict(type="ProjectionNeck", hidden_dims=(256,)),
    loss=dict(type="InBatchInfoNCELoss", temperature=0.2),
    momentum=0.99,
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
train_cfg = dict(max_steps=1_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 4
