"""BiT-M, ResNet-101x3: bit_s_resnet50 with a larger network on ImageNet-21k.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3. Reported: 43.2 COCO AP of a RetinaNet on this backbone
(table 3); nothing that could be read for its classification, for that see BiT-M ResNet-152x4: 85.39 % ImageNet top-1
(table 2). Not run here.

14.2 million images of 21,843 classes. An image may belong to several, so that the loss is the sigmoid's, summed over
the classes: read in google-research/big_vision's configs/bit_i21k.py, as is the classifier's first bias; the paper's
own sentence was not read again. Where each image has one folder, as ImageNet-21k is handed out, that is its only class;
for several see bit_l_resnet152_w4.

Sized for batch 4096, here as 128 processes with 32 images each.

Command: tools/slurm_train.sh PARTITION bit_m configs/bit/bit_m_resnet101_w3.py
"""

from mmengine.config import read_base

with read_base():
    from .bit_s_resnet50 import (
        auto_scale_lr,
        batch,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        train_cfg,
        train_dataloader,
    )

processes = 128

model.backbone.update(depth=101, width=3, checkpoint_stages=(1, 2, 3, 4))
model.update(num_classes=21_843, loss=dict(type="BinaryCrossEntropyLoss"), head_bias=-10.0)
train_dataloader.update(
    batch_size=batch // processes,
    dataset=dict(type="ImageList", root="data/imagenet21k", labels="folder"),
    num_images=14_200_000,  # 14.2 million in the paper
)
