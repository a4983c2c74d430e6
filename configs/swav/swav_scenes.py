"""SwAV on the embedded scenes: SEER's recipe in small, a few minutes on two CPU cores.

Paper: the method of Goyal et al. 2021, arXiv:2103.01988, at another size; there is no number to expect but our own, in
model_zoo.md. Every view draws a new background, so that only the emoji is common to the views of a scene.

Sized for one process on two CPU cores.

Command: selfsup train swav/swav_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.scenes import evaluators
    from .._base_.runtime import default_hooks

batch = 128

model = dict(
    type="SwAV",
    backbone=dict(type="ResNet", depth=18, width=0.25, stem="cifar"),
    neck=dict(type="ProjectionNeck", hidden_dims=(256,), out_dim=64),
    prototypes=dict(type="Prototypes", num_prototypes=128),
    loss=dict(type="SwAVLoss", temperature=0.1, epsilon=0.05, iterations=3),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=2,
    dataset=dict(type="Scenes", split="train", size=64, background="none"),
    num_images=10_664,  # 1,333 training emoji in two domains, four scenes each
    views=dict(
        type="SwAVViews",
        sizes=(48, 32),
        counts=(2, 2),
        scales=((0.3, 1.0), (0.1, 0.3)),
        strength=0.5,
        before=[dict(type="FreshBackground")],
    ),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="bf16",
    optimizer=dict(type="SGD", lr=0.6 * batch / 256, momentum=0.9, weight_decay=1e-5),
    freeze=dict(prototypes=80),
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=1)
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 2
