"""Mask R-CNN with narrow heads on pictures of several emoji, about seven minutes on two CPU cores.

One class, "object": training shows the training emoji, val and test show emoji that neither the detector nor the
backbone has seen. Every view draws a new background.

Paper: the setting of He et al. 2017, arXiv:1703.06870, in small; there is no number to expect but our own, in
docs/detection.md, which model_zoo.md does not list.

Sized for one process on two CPU cores.

Command: selfsup train transfer/detection_scenes --init-from work_dirs/simclr_scenes/backbone.safetensors
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.scenes_backbone import backbone
    from .._base_.runtime import default_hooks

batch = 8

model = dict(
    type="Detector",
    backbone=backbone,
    num_classes=1,
    kind="mask_rcnn",
    norm="train",
    fpn_dim=64,
    head_dim=256,
    mask_dim=32,
    anchor_size=16,  # an emoji has a side of 26 to 51 pixels
    min_size=128,
    max_size=128,
    pre_nms=(300, 150),
    proposals=150,
    sampled_anchors=64,
    sampled_boxes=64,
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,  # the second core is for the network
    num_images=2_000,
    dataset=dict(type="CrowdedScenes", split="train", size=128, num_images=2_000, background="none"),
    views=dict(
        type="ScaleJitterViews",
        size=128,
        scale=(0.8, 1.25),
        before=[dict(type="FreshBackground", kinds=("photo", "flat"))],
    ),
)
tasks = dict(
    scenes=dict(
        type="Task",
        val=dict(type="CrowdedScenes", split="val", size=128, num_images=100, seed=1),
        test=dict(type="CrowdedScenes", split="test", size=128, num_images=300, seed=1),
    ),
)
evaluators = dict(detection=dict(type="DetectionAP"))
evaluate_every = 0
input_contract = dict(size=128, resize="none")
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="fp32",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    param_groups=[dict(kinds=("bias", "norm"), weight_decay=0.0)],
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = dict(type="WarmupCosine", warmup_steps=100)
train_cfg = dict(max_steps=700)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
