"""BiT's upstream step on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Kolesnikov et al. 2020, arXiv:1912.11370, at another size, with MixUp, which the paper keeps for
transfer; there is no number to expect but our own, in model_zoo.md.

Sized for one process on two CPU cores.

Command: selfsup train bit/bit_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.scenes import scenes
    from .._base_.evals.scenes import evaluators, input_contract, tasks
    from .._base_.models.bit import model
    from .._base_.runtime import default_hooks

batch = 128

model.backbone.update(depth=14, width=0.5, num_groups=8)
model.update(num_classes=9, loss=dict(type="CrossEntropyLoss"), mixup_alpha=0.1)

train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views=dict(type="BiTViews", size=32, scale=(0.4, 1.0), before=scenes.before),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="fp32",
    optimizer=dict(type="SGD", lr=0.06 * batch / 128, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = dict(type="MultiStep", steps=(230, 460, 620), factor=0.1, warmup_steps=60)
train_cfg = dict(max_steps=700)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 4
