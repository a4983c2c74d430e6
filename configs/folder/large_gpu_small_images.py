"""Small images (icons, tiles, CIFAR) on a GPU of 20 GB or more.

Paper: Chen et al. 2020, arXiv:2002.05709, appendix B.9 (CIFAR-10): ResNet-50, whose first convolution keeps the
resolution, no blur. There is no number to expect: see model_zoo.md for what was measured.

Sized for one GPU with 24 GB.

Command: selfsup train --data FOLDER, which chooses it
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.folder import custom_hooks, evaluators, loss, neck, optim_wrapper, preprocess

batch = 512

model = dict(
    type="SimCLR",
    backbone=dict(type="ResNet", depth=50, stem="cifar"),
    neck=dict(neck, hidden_dims=(2048,)),
    loss=loss,
    preprocess=preprocess,
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=8,
    dataset=unlabelled,
    views=dict(type="SimCLRViews", size=32, strength=0.5, blur=False, scale=(0.2, 1.0)),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=1_000)
train_cfg = dict(max_steps=20_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 0
