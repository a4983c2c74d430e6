"""SwAV's ResNet-50 fine-tuned on 1 % of ImageNet's labels, with two rates.

Paper: Caron et al. 2020, arXiv:2006.09882. Reported: 53.9 % top-1 (from memory, to be read again). Not run here.

Which images those are is published as google-research/simclr imagenet_subsets/1percent.txt, 12,811 file names, which
are taken as they are; ``configs/simclr/simclr_v2_finetune_resnet50.py`` says how the list is made.

eval_semisup.py: batch 256, 20 epochs, rates times 0.2 after 12 and 16, no weight decay; 0.02 for the trunk and 5.0 for
the classifier; batch norm synchronized over all processes. The classifier starts as PyTorch draws linear layers there,
from N(0, 0.01) here.

Sized for 8 GPUs with 32 images each.

Command: tools/dist_train.sh transfer/swav_finetune_1percent_resnet50 8 --init-from work_dirs/swav_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks

processes = 8
batch = 32 * processes  # 256

model = dict(
    type="Supervised",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.228, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(
        type="ImageList", root="data/imagenet/train_1percent.txt", labels="column", prefix="data/imagenet/train"
    ),
    views=dict(type="SupervisedViews", size=224, jitter=0.0),
    num_images=12_811,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.02 * batch / 256, momentum=0.9, weight_decay=0.0),
    param_groups=[dict(match="classifier.*", lr_scale=5.0 / 0.02)],
)
param_scheduler = dict(type="MultiStep", epochs=(12, 16), factor=0.2)
train_cfg = dict(max_epochs=20)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = "all"
