"""Losses on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, table 4, at another size.

Command: selfsup study studies/losses_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import (
        losses,
        losses_expected,
    )
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="losses_scenes",
    question="Is NT-Xent the better loss?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Losses",
            base=simclr,
            images=images,
            factors=dict(loss=losses),
            expected=losses_expected,
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
