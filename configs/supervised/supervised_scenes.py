"""Supervised training on the embedded scenes, a few minutes on two CPU cores: what labels give the same network.

Paper: the setting of Cole et al. 2022, arXiv:2105.05837, who set supervised training beside contrastive; there is
no number to expect but our own, in model_zoo.md. Data and network are those of simclr_scenes, with one view instead of
two.

Sized for one process on two CPU cores.

Command: selfsup train supervised/supervised_scenes
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
    type="Supervised",
    backbone=backbone,
    num_classes=9,
    loss=dict(type="CrossEntropyLoss", label_smoothing=0.1),
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views=dict(
        type="SupervisedViews",
        size=32,
        jitter=0.1,  # 0.4 changes hues so far that it costs eight points: color tells categories of emoji apart
        scale=(0.4, 1.0),
        before=scenes.before,
    ),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=70)
train_cfg = dict(max_steps=1_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 4
