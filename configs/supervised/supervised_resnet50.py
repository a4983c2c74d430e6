"""Supervised ResNet-50 on ImageNet: the baseline that pretraining is compared with.

Paper: He et al. 2016, arXiv:1512.03385; the recipe is VISSL's
configs/config/pretrain/supervised/supervised_8gpu_resnet.yaml. Reported: 75.45 % ImageNet top-1 (VISSL's MODEL_ZOO.md);
76.1 % for torchvision's weights, from a recipe of their own (same place). Not run here.

SGD with Nesterov momentum, 0.1 for 256 images, a tenth of it after each of 30, 60, 90 and 100 of 105 epochs. Weight
decay 1e-4 on everything but batch norm.

Sized for 8 GPUs with 32 images each.

Command: tools/dist_train.sh configs/supervised/supervised_resnet50.py 8
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.runtime import default_hooks

processes = 8
batch = 32 * processes  # 256

model = dict(
    type="Supervised",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="SupervisedViews", size=224, jitter=0.4),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.1 * batch / 256, momentum=0.9, nesterov=True, weight_decay=1e-4),
    param_groups=[dict(kinds="norm", weight_decay=0.0)],
)
param_scheduler = dict(type="MultiStep", epochs=(30, 60, 90, 100), factor=0.1)
train_cfg = dict(max_epochs=105)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 10
