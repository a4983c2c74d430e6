"""SimCLR on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Chen et al. 2020, arXiv:2002.05709, with its CIFAR settings (temperature 0.5, jitter strength 0.5,
no blur); there is no number to expect but our own, in model_zoo.md. Every view draws a new background, so that only
the emoji is common to the views of a scene.

Sized for one process on two CPU cores.

Command: selfsup train simclr/simclr_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.scenes import evaluators
    from .._base_.runtime import default_hooks

batch = 128

model = dict(
    type="SimCLR",
    backbone=dict(type="ResNet", depth=18, width=0.25, stem="cifar"),
    neck=dict(type="ProjectionNeck", hidden_dims=(256,), out_dim=64),
    loss=dict(type="NTXentLoss", temperature=0.5),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=2,
    dataset=dict(type="Scenes", split="train", size=64, background="none"),
    num_images=10_664,  # 1,333 training emoji in two domains, four scenes each
    views=dict(
        type="SimCLRViews", size=48, strength=0.5, blur=False, scale=(0.3, 1.0), before=[dict(type="FreshBackground")]
    ),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="bf16",
    optimizer=dict(type="SGD", lr=0.6 * batch / 256, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=1)
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 2
