"""SwAV, ResNet-50, 800 epochs of ImageNet with multi-crop.

Paper: Caron et al. 2020, arXiv:2006.09882, table 1. Reported: 75.3 % ImageNet top-1, linear probe (README of
facebookresearch/swav); 74.6 % after 400 epochs, 73.9 % after 200, 72.1 % after 100. Not run here.

Sized for 64 GPUs with 64 images each. Smaller batches than the 3,000 prototypes need a queue: the paper's runs at batch
256 have ``model.queue_length=3840``, ``optim_wrapper.freeze.prototypes=5005``, learning rate 0.6 falling to 0.0006 and
no warm-up. The paper used Apex O1 (fp16); ``optim_wrapper.precision=fp16`` is the same here.

Command: tools/dist_train.sh configs/swav/swav_resnet50.py 8 --auto-scale-lr
Own images: selfsup train swav/swav_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.swav_resnet50 import model
    from .._base_.runtime import default_hooks

processes = 64
batch = 64 * processes  # 4096

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="SwAVViews", sizes=(224, 96), counts=(2, 6), scales=((0.14, 1.0), (0.05, 0.14))),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="larc",
        lr=0.3 * batch / 256,  # 4.8
        momentum=0.9,
        weight_decay=1e-6,  # on biases and batch norm too
        trust_coefficient=0.001,
    ),
    freeze=dict(prototypes=313),  # one epoch of 312 updates, and one
)
param_scheduler = dict(type="WarmupCosine", start_lr=0.3, warmup_epochs=10, warmup_inclusive=True, end_lr=0.0048)
train_cfg = dict(max_epochs=800)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 20
sync_bn = 8
