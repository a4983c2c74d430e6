"""Small images (icons, tiles, CIFAR) on processor cores.

Paper: the method of Chen et al. 2020, arXiv:2002.05709, with its CIFAR pipeline (no blur); network and rates of
simclr_scenes. There is no number to expect but our own: model_zoo.md, and docs/own_images.md for emoji as files. Crops
keep two fifths or more: a thing of 20 pixels has no parts to tell apart.

Sized for two CPU cores, images of about 32 pixels, a few minutes.

Command: selfsup train --data FOLDER, which chooses it
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.folder import custom_hooks, evaluators, loss, neck, optim_wrapper, preprocess
    from .._base_.models.scenes_backbone import backbone

batch = 128

model = dict(
    type="SimCLR",
    backbone=backbone,
    neck=dict(neck, hidden_dims=(256,), out_dim=64),
    loss=loss,
    preprocess=preprocess,
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    dataset=unlabelled,
    views=dict(type="SimCLRViews", size=32, strength=0.5, blur=False, scale=(0.4, 1.0)),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=100)
train_cfg = dict(max_steps=1_000)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 0
