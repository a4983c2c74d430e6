"""Mask R-CNN on SEER's RegNetY-128GF, COCO 2017, as its released detection config has it.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 5. Reported: 48.5 box AP and 43.2 mask AP (read at an aggregator of
results, not in the paper's table). Not run here.

Numbers from VISSL's object_detection/COCOInstance configs for detectron2: batch 16, lr 0.02, 90,000 updates with drops
at 60,000 and 80,000, weight decay 1e-4, warm-up of 100 updates, shorter side 640 to 800, batch norm of trunk and
pyramid synchronized, nothing frozen, anchors of 32 to 512 pixels, 2,000 proposals per level in training and 1,000 in
the test, of which 1,000 are kept. Their "2x" is 180,000 updates with drops at 120,000 and 160,000. From detectron2's
defaults: warm-up from a thousandth of the rate, longest side 1333, no decay of normalization, images without objects
left out. torchvision's Mask R-CNN differs from detectron2's in the sampling of its region pooling.

Sized for 16 GPUs with 1 image each.

Command: tools/slurm_train.sh PARTITION coco configs/transfer/seer_mask_rcnn_regnety128.py --init-from SEER.safetensors
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.coco import coco
    from .._base_.evals.coco import evaluators, tasks
    from .._base_.runtime import default_hooks

processes = 16
batch = 1 * processes

model = dict(
    type="Detector",
    backbone=dict(type="RegNet", arch="y_128gf", checkpoint_stages=(1, 2, 3, 4)),
    num_classes=80,
    kind="mask_rcnn",
    norm="sync",
    freeze_at=0,
    fpn_bn=True,
    anchor_size=32,
    min_size=800,
    max_size=1333,
    pre_nms=(2000, 1000),
    proposals=1000,
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=4,
    dataset=dict(**coco.train, keep_empty=False),
    num_images=117_266,  # of 118,287, those with an object
    views=dict(type="ShortSideViews", sides=(640, 672, 704, 736, 768, 800), longest=1333),
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
    param_groups=[dict(kinds=("norm",), weight_decay=0.0)],
)
param_scheduler = dict(type="MultiStep", steps=(60_000, 80_000), warmup_steps=100, start_lr=0.02 / 1000)
train_cfg = dict(max_steps=90_000)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 0
input_contract = dict(size=800, resize="shorter:800", crop="none")
default_hooks.evaluate = None  # val2017 is what is reported: `selfsup test` looks at it, not the training
