"""Batch or group norm, with and without weight standardization, x batch size, supervised, on the embedded scenes.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, table 4, at another size. All runs see as many images, and the learning
rate follows the batch.

Command: selfsup study studies/normalization_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import norms, norms_expected
    from .._base_.studies.scenes import evaluators, images, task

_seen = 12_800

study = dict(
    name="normalization_scenes",
    question="Which normalization, and does the batch matter to it?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Normalization and batch size",
            base=dict(config="bit/bit_scenes", options={"model.backbone.width": 0.25}),
            images=images,
            factors=dict(
                norm=norms,
                batch={
                    f"{batch}": {
                        "train_dataloader.batch_size": batch,
                        "optim_wrapper.optimizer.lr": 0.06 * batch / 128,
                        "auto_scale_lr": None,
                        "train_cfg.max_steps": _seen // batch,
                        "param_scheduler.steps": [_seen // batch * ninth // 9 for ninth in (3, 6, 8)],
                        "param_scheduler.warmup_steps": _seen // batch // 10,
                    }
                    for batch in (8, 32, 128)
                },
            ),
            expected=norms_expected("8", "128"),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
