"""SimCLR v2's second step: fine-tune the ResNet-50, and the first layer of its head, on 1 % of ImageNet's labels.

Paper: Chen et al. 2020, arXiv:2006.10029, table 1. Reported: 57.9 % ImageNet top-1 for the released weights (README of
google-research/simclr); 68.4 % with 10 % of the labels. Not run here.

The numbers are those of the README's command: LARS, learning rate 0.005 * sqrt(batch), no warm-up, no weight decay, 60
epochs, the classifier starting at zero on the first of the head's three layers (``ft_proj_selector=1``). Batch norms,
biases and the classifier are left out of LARS's adaptation. Crops and flips only. Epochs are whole passes of 12
updates, without the code's running over the end (720 updates instead of 751).

Which images are the 1 % is published as google-research/simclr imagenet_subsets/1percent.txt, 12,811 file names. The
list that is read here has a folder before each name and the label behind it:
``sed -E 's/^(n[0-9]+)_.*/\\1\\/& \\1/' 1percent.txt > data/imagenet/train_1percent.txt``

Sized for batch 1024, here as 8 processes with 128 images each.

Command: tools/dist_train.sh configs/simclr/simclr_v2_finetune_resnet50.py 8 --init-from work_dirs/simclr_v2_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 8
batch = 128 * processes  # 1024

model = dict(
    type="Supervised",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    neck=dict(type="HiddenLayers", hidden_dims=(2048,), bias=False),
    loss=dict(type="CrossEntropyLoss"),
    zero_init_head=True,
    preprocess=dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),  # as in pretraining
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(
        type="ImageList", root="data/imagenet/train_1percent.txt", labels="column", prefix="data/imagenet/train"
    ),
    views=dict(type="SupervisedViews", size=224, jitter=0.0, interpolation="bicubic"),
    num_images=12_811,
)
input_contract = dict(interpolation="bicubic")  # of test images: google-research/simclr, tf2/data_util.py, center_crop
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="simclr",
        lr=0.005 * batch**0.5,  # 0.16
        momentum=0.9,
        weight_decay=0.0,
        trust_coefficient=0.001,
    ),
    param_groups=[dict(kinds=("bias", "norm"), adapt=False), dict(match="classifier.*", adapt=False)],
)
param_scheduler = dict(type="WarmupCosine")
train_cfg = dict(max_epochs=60)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
sync_bn = "all"
