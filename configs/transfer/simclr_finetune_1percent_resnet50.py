"""SimCLR's ResNet-50 fine-tuned on 1 % of ImageNet's labels.

Paper: Chen et al. 2020, arXiv:2002.05709, appendix B.5. Reported: the table could not be read. Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/1percent.txt, 12,811 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

Nesterov momentum, rate 0.05 for 256 images at batch 4096, 60 epochs, no warm-up, crops and flips alone: from memory,
to be read again; so are the cosine and the missing weight decay.

Sized for batch 4096, here as 32 processes with 128 images each.

Command: tools/dist_train.sh transfer/simclr_finetune_1percent_resnet50 32 --init-from work_dirs/simclr_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 32
batch = 128 * processes  # 4096

model = dict(
    type="Supervised",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    zero_init_head=True,
    preprocess=dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
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
    optimizer=dict(type="SGD", lr=0.05 * batch / 256, momentum=0.9, nesterov=True, weight_decay=0.0),
)
param_scheduler = dict(type="WarmupCosine")
train_cfg = dict(max_epochs=60)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = "all"
