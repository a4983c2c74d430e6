"""SimSiam, ResNet-50, 100 epochs of ImageNet.

Paper: Chen and He 2020, arXiv:2011.10566, table 1, last row. Reported: 68.1 % ImageNet top-1, linear probe, after 100
epochs (README of facebookresearch/simsiam); 71.3 % after 800 (the paper's authors on Papers with Code). Not run here.

38,199,360 trained parameters, and a frozen bias of 2,048 that the neck's last batch norm takes out again. The views are
MoCo v2's. The learning rate moves once per epoch, the predictor's stays constant, as in the released command
(``--fix-pred-lr``). Sized for 8 GPUs with 64 images each, with batch norm over all of them; the released code's float32
is ``optim_wrapper.precision=fp32``.

Command: tools/dist_train.sh configs/simsiam/simsiam_resnet50.py 8
Own images: selfsup train simsiam/simsiam_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.runtime import default_hooks

processes = 8
batch = 64 * processes  # 512

model = dict(
    type="SimSiam",
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    neck=dict(
        type="ProjectionNeck",
        hidden_dims=(2048, 2048),
        out_dim=2048,
        bias=False,
        last_bias=True,
        last_bias_frozen=True,
        last_bn=True,
        last_bn_weight=False,
        last_bn_bias=False,
    ),
    predictor=dict(type="ProjectionNeck", hidden_dims=(512,), bias=False, last_bias=True),
    loss=dict(type="NegativeCosineLoss"),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=4,
    dataset=imagenet.train,
    views=dict(type="MoCoViews", size=224, version=2),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.05 * batch / 256, momentum=0.9, weight_decay=1e-4),  # biases and batch norm too
    param_groups=[dict(match="predictor.*", fixed_lr=True)],
)
param_scheduler = dict(type="EpochCosine")
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 10
sync_bn = "all"
