"""Losses, and normalization x temperature, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, tables 4 and 5, at another size.

Command: selfsup study studies/losses_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import (
        losses,
        losses_expected,
        normalization,
        temperatures,
        temperatures_expected,
        temperatures_without,
    )
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="losses_scenes",
    question="Is NT-Xent the better loss, and what do its normalization and temperature matter?",
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
        dict(
            type="Grid",
            title="Normalization and temperature",
            base=simclr,
            images=images,
            factors=dict(normalized=normalization, temperature=temperatures),
            without=temperatures_without,
            expected=temperatures_expected,
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
