"""SEER's RegNetY-256GF fine-tuned on 10 % of ImageNet's labels, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: 77.9 % top-1. Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/10percent.txt, 128,116 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

70 epochs, rate 0.05 for 256 images and a tenth of it after 30 epochs, no weight decay, Nesterov momentum: VISSL's
defaults of semi_supervised/imagenet1k. Not in what could be read: the augmentation of low-shot training (crop and flip
here), and the batch.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_low_shot_10percent_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 32
batch = 8 * processes  # 256

model = dict(
    type="Supervised",
    backbone=dict(type="RegNet", arch="y_256gf", checkpoint_stages=(1, 2, 3, 4)),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    neck=dict(type="HiddenLayers", hidden_dims=(8192,), bn=False, fresh_bn=True),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(
        type="ImageList", root="data/imagenet/train_10percent.txt", labels="column", prefix="data/imagenet/train"
    ),
    views=dict(type="SupervisedViews", size=224, jitter=0.0),
    num_images=128_116,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.05 * batch / 256, momentum=0.9, nesterov=True, weight_decay=0.0),
)
param_scheduler = dict(type="MultiStep", epochs=(30,), factor=0.1)
train_cfg = dict(max_epochs=70)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
