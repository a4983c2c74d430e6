"""MoCo v2 on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Chen et al. 2020, arXiv:2003.04297, at another size; there is no number to expect but our own, in
model_zoo.md. Data, views and backbone are those of simclr_scenes. The run is too short for a teacher that lags by
thousands of steps: it keeps 0.99 of itself a step, not 0.999, and the queue holds 32 batches. The neck has batch norm,
which version 2's has not: without it the linear probe came to 36.4 % instead of 40.1 (seed 6).

Sized for one process on two CPU cores.

Command: selfsup train moco/moco_v2_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.scenes import scenes
    from .._base_.evals.scenes import evaluators, input_contract, tasks
    from .._base_.models.scenes_backbone import backbone
    from .._base_.optim.scenes_sgd import optim_wrapper
    from .._base_.runtime import default_hooks

batch = 128

model = dict(
    type="MoCo",
    backbone=backbone,
    neck=dict(type="ProjectionNeck", hidden_dims=(256,), out_dim=64, last_bn=True),
    loss=dict(type="InfoNCELoss", temperature=0.2),
    queue_length=32 * batch,  # 4096
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
train_cfg = dict(max_steps=1_400)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 4
