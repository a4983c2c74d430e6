"""BiT-S, ResNet-50x1: supervised on ImageNet with group norm and weight standardization.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3. Reported: 76.0 % ImageNet top-1 at batch 4096 (table 4, GN
and WS; 75.6 % with batch norm, 70.2 % with group norm alone). Not run here.

SGD with momentum, 0.03 for 256 images, a linear warm-up over 5,000 updates, a tenth of the rate after each of 30, 60
and 80 of 90 epochs, weight decay 1e-4.

Sized for batch 4096, here as 32 processes with 128 images each; nothing depends on how a batch is spread.

Command: tools/dist_train.sh configs/bit/bit_s_resnet50.py 8 --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.bit import model
    from .._base_.runtime import default_hooks

processes = 32
batch = 128 * processes  # 4096

model.backbone.update(depth=50, width=1)
model.update(num_classes=1000, loss=dict(type="CrossEntropyLoss"))

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="BiTViews", size=224),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.03 * batch / 256, momentum=0.9, weight_decay=1e-4),  # 0.48
)
param_scheduler = dict(type="MultiStep", epochs=(30, 60, 80), factor=0.1, warmup_steps=5_000)
train_cfg = dict(max_epochs=90)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 10
