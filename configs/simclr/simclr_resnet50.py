"""SimCLR, ResNet-50, 1000 epochs of ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709. Reported: 69.1 % ImageNet top-1, linear probe, for the released weights
(README of google-research/simclr). Not run here.

Sized for batch 4096, here as 32 processes with 128 images each; the paper ran on TPU pods with batch norm over all of
them. At this batch the paper's two rules agree: 0.3 * batch / 256 and 0.075 * sqrt(batch) are both 4.8. For smaller
batches the paper prefers ``auto_scale_lr.rule=sqrt``. Weight decay is version 1's and the TF2 code's default 1e-6; the
README's command has 1e-4. Epochs are whole passes of 312 updates, without the code's running over the end (31,200
updates in 100 epochs instead of 31,279). The loss is the paper's mean; the code's is twice that, which LARS undoes for
all but biases and norms, whose steps are half of the code's here: ``model.loss.official_factor=True`` doubles it.

Command: tools/dist_train.sh configs/simclr/simclr_resnet50.py 8 --auto-scale-lr
Own images: selfsup train simclr/simclr_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.simclr_resnet50 import model
    from .._base_.runtime import default_hooks

processes = 32
batch = 128 * processes  # 4096

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="SimCLRViews", size=224, strength=1.0, brightness_mode="additive"),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="simclr",
        lr=0.3 * batch / 256,  # 4.8
        momentum=0.9,
        weight_decay=1e-6,
        trust_coefficient=0.001,
    ),
    param_groups=[dict(kinds=("bias", "norm"), weight_decay=0.0, adapt=False)],
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=10)
train_cfg = dict(max_epochs=1000)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 20
sync_bn = "all"
