"""SimCLR v2's second step on the embedded scenes: fine-tune what simclr_v2_scenes learned on a tenth of the labels.

Paper: the method of Chen et al. 2020, arXiv:2006.10029, at another size; there is no number to expect but our own, in
model_zoo.md. One view of 1,066 labelled scenes, and the first layer of the head stays, as in the paper. AdamW with a
rate that falls over the whole run instead of LARS.

Sized for one process on two CPU cores.

Command: selfsup train simclr/simclr_v2_finetune_scenes --init-from work_dirs/simclr_v2_scenes
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
    neck=dict(type="HiddenLayers", hidden_dims=(256,)),
    loss=dict(type="CrossEntropyLoss"),
    zero_init_head=True,
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),  # as in pretraining
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=dict(type="Subset", dataset=scenes.train, fraction=0.1),
    num_images=scenes.num_images // 10,
    views=dict(type="SupervisedViews", size=32, jitter=0.1, scale=(0.4, 1.0), before=scenes.before),
)
optim_wrapper.optimizer.lr = 1e-3
param_scheduler = dict(type="WarmupCosine", warmup_steps=0)
train_cfg = dict(max_steps=400)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 10
