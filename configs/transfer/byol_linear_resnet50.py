"""BYOL's linear classifier on the frozen ResNet-50.

Paper: Grill et al. 2020, arXiv:2006.07733. Reported: 74.3 % top-1 (Papers with Code, by the authors). Not run here.

Nesterov momentum 0.9, rate 0.2 for 256 images, 80 epochs, no warm-up: the evaluation config of the code. Not in what
could be read: the batch (1024 here), the weight decay (none here), the shape of the schedule (a cosine here), and the
augmentation (crops and flips here).

Sized for batch 1024, here as 8 processes with 128 images each.

Command: tools/dist_train.sh transfer/byol_linear_resnet50 8 --init-from work_dirs/byol_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 8
batch = 128 * processes  # 1024

model = dict(
    type="LinearHeads",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    views=dict(type="SupervisedViews", size=224, jitter=0.0, interpolation="bicubic"),
    num_images=1_281_167,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.2 * batch / 256, momentum=0.9, nesterov=True, weight_decay=0.0),
)
param_scheduler = dict(type="WarmupCosine")
train_cfg = dict(max_epochs=80)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
