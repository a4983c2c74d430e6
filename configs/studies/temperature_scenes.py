"""Normalization of embeddings x temperature, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, table 5, at another size.

Command: selfsup study studies/temperature_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import (
        normalization,
        temperatures,
        temperatures_expected,
        temperatures_without,
    )
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="temperature_scenes",
    question="What do normalization and temperature of NT-Xent matter?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Normalization and temperature",
            base=simclr,
            images=images,
            factors=dict(embeddings=normalization, temperature=temperatures),
            without=temperatures_without,
            expected=temperatures_expected,
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
