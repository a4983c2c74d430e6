"""Photographs on a GPU of less than 20 GB.

Paper: the method of Chen et al. 2020, arXiv:2002.05709, with a ResNet-18 and crops of 128 pixels. There is
no number to expect: see model_zoo.md for what was measured.

Sized for one GPU with 8 GB.

Command: selfsup train --data FOLDER, which chooses it
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.folder import custom_hooks, evaluators, loss, neck, optim_wrapper, preprocess

batch = 256

model = dict(
    type="SimCLR",
    backbone=dict(type="ResNet", depth=18),
    neck=dict(neck, hidden_dims=(512,)),
    loss=loss,
    preprocess=preprocess,
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=4,
    dataset=unlabelled,
    views=dict(type="SimCLRViews", size=128, strength=0.5, scale=(0.2, 1.0), interpolation="bilinear"),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=500)
train_cfg = dict(max_steps=10_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 0
