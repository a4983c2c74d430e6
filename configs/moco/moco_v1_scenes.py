"""MoCo v1 on the embedded scenes, a few minutes on two CPU cores: moco_v2_scenes with a linear neck.

Paper: the method of He et al. 2019, arXiv:1911.05722, at another size; there is no number to expect but our own, in
model_zoo.md. Views and temperature (0.2, not 0.07) stay those of version 2, and so does the batch norm after the neck,
which the paper's has not: without it the linear probe came to 35.6 % instead of 43.0 (seed 6).

Sized for one process on two CPU cores.

Command: selfsup train moco/moco_v1_scenes
"""

from mmengine.config import read_base

with read_base():
    from .moco_v2_scenes import (
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

model.neck.hidden_dims = ()
