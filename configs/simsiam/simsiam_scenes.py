"""SimSiam on the embedded scenes, a few minutes on two CPU cores.

Paper: the method of Chen and He 2020, arXiv:2011.10566, at another size; there is no number to expect but our own, in
model_zoo.md and docs/experiments.md. Data and backbone are those of simclr_scenes. The views have half its
jitter. The projection has two layers, not the paper's three, and the predictor is wider than the embedding, no
bottleneck. SGD, and a constant rate for the predictor, as in the paper.

Sized for one process on two CPU cores.

Command: selfsup train simsiam/simsiam_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.scenes import scenes
    from .._base_.evals.scenes import evaluators, input_contract, tasks
    from .._base_.models.scenes_backbone import backbone
    from .._base_.optim.scenes_sgd import optim_wrapper
    from .._base_.runtime import default_hooks

batch = 64

model = dict(
    type="SimSiam",
    backbone=backbone,
    neck=dict(
        type="ProjectionNeck",
        hidden_dims=(1024,),
        out_dim=256,
        bias=False,
        last_bias=True,
        last_bias_frozen=True,
        last_bn=True,
        last_bn_weight=False,
        last_bn_bias=False,
    ),
    predictor=dict(type="ProjectionNeck", hidden_dims=(1024,), bias=False, last_bias=True),
    loss=dict(type="NegativeCosineLoss"),
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=scenes.train,
    num_images=scenes.num_images,
    views={**scenes.pair, "strength": 0.25},
)
optim_wrapper.optimizer.lr = 0.1
optim_wrapper.param_groups = [dict(match="predictor.*", fixed_lr=True)]
param_scheduler = dict(type="WarmupCosine", warmup_steps=140)
train_cfg = dict(max_steps=2_800)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 4
