"""Capacity x schedule x data, supervised, on the embedded scenes.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, section 4.1, at another size.

Command: selfsup study studies/capacity_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, task

_widths = {"x1/4": 0.25, "x1/2": 0.5, "x1": 1.0}

study = dict(
    name="capacity_scenes",
    question="Do larger networks need more data and longer schedules?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Capacity, data and schedule",
            base=dict(config="bit/bit_scenes"),
            factors=dict(
                data={
                    "1,000": {"train_dataloader.dataset": dict(type="Subset", dataset=images, count=1_000)},
                    "all": {"train_dataloader.dataset": images},
                },
                steps={
                    f"{steps}": {
                        "train_cfg.max_steps": steps,
                        "param_scheduler.steps": [steps // 3, 2 * steps // 3, 8 * steps // 9],
                        "param_scheduler.warmup_steps": steps // 10,
                    }
                    for steps in (120, 360)
                },
                width={name: {"model.backbone.width": width} for name, width in _widths.items()},
            ),
            expected=[
                dict(
                    words=f"width {wide} beats {narrow} with {data} images and {steps} steps",
                    ahead=dict(data=data, steps=steps, width=wide),
                    behind=dict(data=data, steps=steps, width=narrow),
                )
                for data in ("1,000", "all")
                for steps in ("120", "360")
                for narrow, wide in (("x1/4", "x1/2"), ("x1/2", "x1"))
            ],
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
