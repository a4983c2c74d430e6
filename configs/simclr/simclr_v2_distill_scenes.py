"""SimCLR v2's third step on the embedded scenes: a fresh network learns what the fine-tuned one says, unlabelled.

Paper: the method of Chen et al. 2020, arXiv:2006.10029, at another size; there is no number to expect but our own, in
model_zoo.md. Teacher and student have the same backbone: the paper's self-distillation. The student sees all scenes and
no label; what the teacher knows of the nine categories comes from the tenth that simclr_v2_finetune_scenes was shown.

Sized for one process on two CPU cores.

Command: selfsup train simclr/simclr_v2_distill_scenes, after simclr_v2_scenes and simclr_v2_finetune_scenes
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
    type="Distillation",
    backbone=backbone,
    teacher=dict(
        type="Supervised",
        backbone=backbone,
        num_classes=9,
        neck=dict(type="HiddenLayers", hidden_dims=(256,)),
        loss=dict(type="CrossEntropyLoss"),
        preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),  # the student's too
    ),
    teacher_checkpoint="work_dirs/simclr_v2_finetune_scenes",
    loss=dict(type="DistillationLoss", temperature=1.0),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views=dict(type="SupervisedViews", size=32, jitter=0.1, scale=(0.4, 1.0), before=scenes.before),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=70)
train_cfg = dict(max_steps=1_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 4
