"""SimCLR v2's third step: a ResNet-50 learns what the fine-tuned ResNet-152 (3x, selective kernels) says, unlabelled.

Paper: Chen et al. 2020, arXiv:2006.10029, equation 2 and abstract. Reported: 73.9 % ImageNet top-1 with 1 % and 77.5 %
with 10 % of the labels, used by the teacher alone. Not run here.

Temperature 1, weight decay 1e-4, LARS, crops and flips only: as in google-research/simclr
tf2/colabs/distillation_self_training.ipynb. The paper's section on its settings could not be read: learning rate, batch
and warm-up are those of pretraining here, and 400 epochs are our choice. To distil a teacher into a network of its own
kind first, ``model.backbone`` is the teacher's, and the result's checkpoint holds a teacher without a neck.

Sized for batch 4096, here as 32 processes with 128 images each.

Command: tools/dist_train.sh configs/simclr/simclr_v2_distill_resnet50.py 8 --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.runtime import default_hooks

processes = 32
batch = 128 * processes  # 4096

model = dict(
    type="Distillation",
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    teacher=dict(
        type="Supervised",
        backbone=dict(type="ResNet", depth=152, width=3, selective_kernels=True),
        num_classes=1000,
        neck=dict(type="HiddenLayers", hidden_dims=(6144,), bias=False),
        loss=dict(type="CrossEntropyLoss"),
        preprocess=dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),  # the student's too
    ),
    teacher_checkpoint="work_dirs/simclr_v2_finetune_resnet152_w3_sk",
    loss=dict(type="DistillationLoss", temperature=1.0),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="SupervisedViews", size=224, jitter=0.0, interpolation="bicubic"),
    num_images=imagenet.num_images,
)
input_contract = dict(interpolation="bicubic")  # of test images: google-research/simclr, tf2/data_util.py, center_crop
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="simclr",
        lr=0.075 * batch**0.5,  # 4.8
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.001,
    ),
    param_groups=[dict(kinds=("bias", "norm"), weight_decay=0.0, adapt=False)],
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=10)
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 20
sync_bn = "all"
