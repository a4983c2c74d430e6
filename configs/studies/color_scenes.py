"""Strength of the color distortion, for SimCLR and for supervised training, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, table 1, at another size. Strength 1 is SimCLR's own jitter, and 0.4 of the
supervised one.

Command: selfsup study studies/color_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, supervised, task

_strengths = {"1/8": 0.125, "1/2": 0.5, "1": 1.0}
_shared = dict(type="Grid", images=images, shows="strength", task=task, task_name="category", evaluators=evaluators)

study = dict(
    name="color_scenes",
    question="Does a stronger color distortion help, with and without labels?",
    seeds=3,
    axes=[
        dict(
            _shared,
            title="Color strength, SimCLR",
            base=simclr,
            factors=dict(
                strength={name: {"train_dataloader.views.strength": value} for name, value in _strengths.items()},
                method=dict(SimCLR={}),
            ),
            expected=[
                dict(
                    words="SimCLR: strength 1 beats 1/8",
                    ahead=dict(method="SimCLR", strength="1"),
                    behind=dict(method="SimCLR", strength="1/8"),
                )
            ],
        ),
        dict(
            _shared,
            title="Color strength, supervised",
            base=supervised,
            factors=dict(
                strength={name: {"train_dataloader.views.jitter": 0.4 * value} for name, value in _strengths.items()},
                method=dict(supervised={}),
            ),
            expected=[
                dict(
                    words="supervised: strength 1/8 beats 1",
                    ahead=dict(method="supervised", strength="1/8"),
                    behind=dict(method="supervised", strength="1"),
                )
            ],
        ),
    ],
)
