"""SimCLR v2, ResNet-50, 100 epochs of ImageNet.

Paper: Chen et al. 2020, arXiv:2006.10029, table 1. Reported: 71.7 % ImageNet top-1, linear probe, and fine-tuned
57.9 % with 1 %, 68.4 % with 10 % and 76.3 % with all of the labels, for the released weights (README of
google-research/simclr). Not run here.

What differs from simclr_resnet50: a projection head of three layers, brightness that is multiplied, weight decay 1e-4.
As there, the loss is the paper's mean and not twice that, as in the code (``model.loss.official_factor=True``).
The numbers are those of the README's command, which trains for 100 epochs; the released weights trained longer, 800
epochs if memory of the paper serves, which could not be read again: ``train_cfg.max_epochs=800``.

Sized for batch 4096, here as 32 processes with 128 images each; the paper ran on TPU pods with batch norm over all of
them. The learning rate follows the square root of the batch.

Command: tools/dist_train.sh configs/simclr/simclr_v2_resnet50.py 8 --auto-scale-lr
Own images: selfsup train simclr/simclr_v2_resnet50 --data ~/photos --auto-scale-lr
Fine-tuning: simclr_v2_finetune_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.simclr_v2_resnet50 import model
    from .._base_.runtime import default_hooks

processes = 32
batch = 128 * processes  # 4096

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="SimCLRViews", size=224, strength=1.0, brightness_mode="multiplicative"),
    num_images=imagenet.num_images,
)
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
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=batch, rule="sqrt")
evaluate_every = 20
sync_bn = "all"
