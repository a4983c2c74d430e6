"""MoCo v2, ResNet-50, 200 epochs of ImageNet: moco_v1_resnet50 with a hidden layer, stronger views and a cosine.

Paper: Chen et al. 2020, arXiv:2003.04297. Reported: 67.7 % ImageNet top-1, linear probe, for the released weights of
200 epochs and 71.1 % for those of 800; 67.5 % (deviation 0.1) over five runs of 200 epochs (README of
facebookresearch/moco). Not run here.

27,966,656 parameters in each of student and teacher. Sized for 8 GPUs with 32 images each; the released code's float32
is ``optim_wrapper.precision=fp32``. The learning rate moves once per epoch; ``train_cfg.max_epochs=800`` is the longer
preset.

Command: tools/dist_train.sh configs/moco/moco_v2_resnet50.py 8
Own images: selfsup train moco/moco_v2_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .moco_v1_resnet50 import (
        auto_scale_lr,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        tasks,
        train_cfg,
        train_dataloader,
    )

model.neck.hidden_dims = (2048,)
model.neck.bn = False
model.loss.temperature = 0.2
train_dataloader.views.version = 2
param_scheduler = dict(type="EpochCosine")
