"""Supervised RegNetY-16GF on ImageNet: the baseline for SEER's networks.

Paper: Radosavovic et al. 2020, arXiv:2003.13678; the recipe is VISSL's
configs/config/pretrain/supervised/supervised_8gpu_regnety.yaml. Reported: nothing that could be read for this size, so
it comes without a number; 80.55 % ImageNet top-1 for RegNetY-64GF and 80.57 % for RegNetY-128GF, both on BGR images
(VISSL's MODEL_ZOO.md). Not run here.

SGD with Nesterov momentum; the rate rises from 0.1 to 0.2 in the first twentieth of 100 epochs, then falls along a
cosine to 0 that VISSL reads at the run's progress, so that it drops where the two meet. Weight decay 5e-5 on
everything.

Sized for 8 GPUs with 32 images each.

Command: tools/dist_train.sh configs/supervised/supervised_regnety16.py 8
"""

from mmengine.config import read_base

with read_base():
    from .supervised_resnet50 import (
        auto_scale_lr,
        batch,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        train_dataloader,
    )

epochs = 100

model.backbone = dict(type="RegNet", arch="y_16gf")
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision=optim_wrapper.precision,
    optimizer=dict(type="SGD", lr=0.2 * batch / 256, momentum=0.9, nesterov=True, weight_decay=5e-5),
)
param_scheduler = dict(
    type="WarmupCosine", start_lr=0.1 * batch / 256, warmup_epochs=epochs / 20, end_lr=0.0, seam="vissl_fixed"
)
train_cfg = dict(max_epochs=epochs)
