"""RetinaNet on BiT's ResNet-101x3, COCO 2017.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, supplement E. Reported: 43.2 AP from BiT-M, 41.7 from BiT-S, 43.8 from
BiT-L, 40.8 from the baseline, each the median of five runs (table 3). Not run here.

From the paper: 1024 x 1024 pixels, batch 256, 30 epochs, SGD with rate 0.08, a tenth of it after epochs 16 and 22,
momentum 0.9, weight decay 1e-4, mirror images and scale jitter, focal loss with alpha 0.25 and gamma 2, which are
torchvision's. The paper does not say how far scales vary, 0.8 to 1.25 is ours; nor which anchors it takes, these are
torchvision's, of 32 to 512 pixels, and for how long the rate warms up, here not at all; all weights are decayed.

Sized for 64 GPUs with 4 images each.

Command: tools/slurm_train.sh PARTITION coco configs/transfer/bit_retinanet_resnet101_w3.py --init-from BIT.safetensors
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.coco import coco
    from .._base_.evals.coco import evaluators, tasks
    from .._base_.runtime import default_hooks

processes = 64
batch = 4 * processes

model = dict(
    type="Detector",
    backbone=dict(type="BiTResNet", depth=101, width=3, checkpoint_stages=(1, 2, 3, 4)),
    num_classes=80,
    kind="retinanet",
    norm="train",  # group norm: there is no batch norm in it
    min_size=1024,
    max_size=1024,
    preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(**coco.train, masks=False),
    num_images=118_287,
    views=dict(type="ScaleJitterViews", size=1024, scale=(0.8, 1.25)),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.08, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = dict(type="MultiStep", epochs=(16, 22))
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 0
input_contract = dict(size=1024, resize="none")
default_hooks.evaluate = None  # val2017 is what is reported: `selfsup test` looks at it, not the training
