"""MoCo v3, ResNet-50, 1000 epochs of ImageNet.

Paper: Chen et al. 2021, arXiv:2104.02057. Reported: 74.6 % ImageNet top-1, linear probe, after 1000 epochs, 72.8 %
after 300, 68.9 % after 100 (README and CONFIG.md of facebookresearch/moco-v3). Not run here.

The code's presets (its CONFIG.md, and the defaults of main_moco.py): 1000 epochs take the numbers below; 300 epochs
``optim_wrapper.optimizer.weight_decay=1e-6`` and ``model.momentum=0.99``; 100 epochs these and a base rate of 0.6 for
256 images (9.6). All raise the momentum to 1 along a cosine. The predictor's last linear layer has no batch norm, which
is the released code's; an earlier state of it had one. Sized for 16 GPUs with 256 images each, with batch norm over all
of them. The code trains in fp16; ``optim_wrapper.precision=fp16`` is the same here.

Command: tools/dist_train.sh configs/moco/moco_v3_resnet50.py 8 --auto-scale-lr
Own images: selfsup train moco/moco_v3_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.moco_v3 import model
    from .._base_.runtime import default_hooks

processes = 16
batch = 256 * processes  # 4096

model.backbone = dict(type="ResNet", depth=50, zero_init_residual=True)
model.momentum = 0.996

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="MoCoViews", size=224, version=3, scale=(0.2, 1.0)),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="byol",
        lr=0.3 * batch / 256,  # 4.8
        momentum=0.9,
        weight_decay=1.5e-6,
        trust_coefficient=0.001,
    ),
    param_groups=[dict(kinds=("bias", "norm"), weight_decay=0.0, adapt=False)],
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=10)
train_cfg = dict(max_epochs=1000)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 20
sync_bn = "all"
