"""Photographs on processor cores: a small network, small crops.

Paper: the method of Chen et al. 2020, arXiv:2002.05709, at another size; there is no number to expect (model_zoo.md has
what was measured). The network is that of simclr_scenes with one more block and twice the width at the end: 24
million multiply-adds at 96 pixels, 7 % of a ResNet-18's.

Sized for two CPU cores, a quarter of an hour.

Command: selfsup train --data FOLDER, which chooses it
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.folder import custom_hooks, evaluators, loss, neck, optim_wrapper, preprocess

batch = 64

model = dict(
    type="SimCLR",
    backbone=dict(type="RegNet", depths=(1, 1, 3, 1), widths=(32, 64, 128, 512), group_width=16),
    neck=dict(neck, hidden_dims=(512,)),
    loss=loss,
    preprocess=preprocess,
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=unlabelled,
    views=dict(type="SimCLRViews", size=96, strength=0.5, scale=(0.2, 1.0), interpolation="bilinear"),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=100)
train_cfg = dict(max_steps=1_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 0
