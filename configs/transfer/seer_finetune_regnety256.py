"""SEER's RegNetY-256GF fine-tuned on all of ImageNet, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: 84.2 % top-1. Not run here.

SGD with momentum, batch 256, rate 0.0125 and a tenth of it after 30 of 35 epochs, weight decay 1e-4, SwAV's
augmentation (VISSL's swav_train_only.yaml). The head keeps the first layer of the pretraining head, with a fresh batch
norm, as in VISSL's regnet256Gf_swav_head.yaml, which does not synchronize it. VISSL's config for fine-tuning, whose
rates are others, has Nesterov momentum and no decay of batch norm; the paper does not say so, and neither is here.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_finetune_regnety256 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.models.seer_classifier import model

processes = 32
batch = 8 * processes  # 256

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    views=dict(
        type="MultiView",
        pipelines=[
            dict(
                transforms=[
                    dict(type="RandomResizedCrop", size=224, interpolation="bilinear"),
                    dict(type="RandomHorizontalFlip"),
                    dict(type="ColorJitter", brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
                    dict(type="RandomGray", p=0.2),
                    dict(type="GaussianBlur", sigma=(0.1, 2.0), p=0.5),
                ]
            )
        ],
    ),
    num_images=1_281_167,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.0125 * batch / 256, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = dict(type="MultiStep", epochs=(30,), factor=0.1)
train_cfg = dict(max_epochs=35)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
