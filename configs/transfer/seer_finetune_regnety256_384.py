"""SEER's RegNetY-256GF fine-tuned on all of ImageNet at 384 pixels, from the first layer of its head.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Reported: 85.2 % top-1 (README of VISSL, 2022, at 384 pixels).
Not run here.

SGD with momentum, batch 256, rate 0.0125 and a tenth of it after 30 of 35 epochs, weight decay 1e-4, SwAV's
augmentation (VISSL's swav_train_only.yaml; tricks_384_swav.yaml, bicubic). Test images are resized to a shorter side of
384, as in tricks_384_swav_mixup.yaml beside it. The head keeps the first layer of the pretraining head, with a fresh
batch norm, as in VISSL's regnet256Gf_swav_head.yaml. What else differs at 384 pixels could not be read.

Sized for 32 GPUs with 8 images each.

Command: tools/dist_train.sh transfer/seer_finetune_regnety256_384 32 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .seer_finetune_regnety256 import (
        auto_scale_lr,
        default_hooks,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        tasks,
        train_cfg,
        train_dataloader,
    )

train_dataloader.views.pipelines[0].transforms[0] = dict(type="RandomResizedCrop", size=384, interpolation="bicubic")
input_contract = dict(size=384, resize="shorter:384", interpolation="bicubic")
