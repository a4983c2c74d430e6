"""SimSiam's linear classifier on the frozen ResNet-50.

Paper: Chen and He 2021, arXiv:2011.10566. Reported: 68.1 % top-1 after 100 epochs at batch 512 (README of SimSiam).
Not run here.

main_lincls.py with ``--lars``: LARC (trust coefficient 0.001, without clipping) at batch 4096, rate 0.1 for 256 images
along a cosine that moves once per epoch, 90 epochs, no weight decay, crops and flips.

Sized for batch 4096, here as 8 processes with 512 images each.

Command: tools/dist_train.sh transfer/simsiam_linear_resnet50 8 --init-from work_dirs/simsiam_resnet50
"""

from mmengine.config import read_base

with read_base():
    from .._base_.evals.imagenet_head import default_hooks, evaluators, tasks
    from .._base_.linear_resnet50 import model, train_dataloader

processes = 8
batch = 512 * processes  # 4096

train_dataloader.batch_size = batch // processes
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS", variant="larc", lr=0.1 * batch / 256, momentum=0.9, weight_decay=0.0, trust_coefficient=0.001
    ),
)
param_scheduler = dict(type="EpochCosine")
train_cfg = dict(max_epochs=90)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
