"""SwAV on the embedded scenes: SEER's recipe in small, a few minutes on two CPU cores.

Paper: the method of Goyal et al. 2021, arXiv:2103.01988, at another size; there is no number to expect but our own, in
model_zoo.md and docs/experiments.md. Data, views and backbone are those of simclr_scenes. There are no small
crops: in one of 20 pixels little is left of an emoji of 20. Prototypes are free after 20 steps.

Sized for one process on two CPU cores.

Command: selfsup train swav/swav_scenes
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
    type="SwAV",
    backbone=backbone,
    neck=dict(
        type="ProjectionNeck", hidden_dims=(256,), out_dim=64, last_bn=True, last_bn_weight=False, last_bn_bias=False
    ),
    prototypes=dict(type="Prototypes", num_prototypes=128),
    loss=dict(type="SwAVLoss", temperature=0.15, epsilon=0.02, iterations=3),  # 0.05 stays at ln K
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views=dict(
        type="SwAVViews", sizes=(32,), counts=(2,), scales=((0.4, 1.0),), strength=0.5, blur=False, before=scenes.before
    ),
)
optim_wrapper.update(freeze=dict(prototypes=20))
param_scheduler = dict(type="WarmupCosine", warmup_steps=70)
train_cfg = dict(max_steps=1_400)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 4
