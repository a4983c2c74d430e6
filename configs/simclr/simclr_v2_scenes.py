"""SimCLR v2 on the embedded scenes, a few minutes on two CPU cores: simclr_scenes with a head of three layers.

Paper: the method of Chen et al. 2020, arXiv:2006.10029, at another size; there is no number to expect but our own, in
model_zoo.md.

Sized for one process on two CPU cores.

Command: selfsup train simclr/simclr_v2_scenes
"""

from mmengine.config import read_base

with read_base():
    from .simclr_scenes import (
        auto_scale_lr,
        default_hooks,
        evaluate_every,
        evaluators,
        model,
        optim_wrapper,
        param_scheduler,
        train_cfg,
        train_dataloader,
    )

model.neck.hidden_dims = (256, 256)
