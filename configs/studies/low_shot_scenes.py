"""Capacity x (scratch | pretrained) x labels, on the embedded scenes.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4, at another size: the network of the scenes at half, once and
twice its widths.

Command: selfsup study studies/low_shot_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

_widths = (32, 64, 128, 256)
_networks = {
    name: {"model.backbone.widths": tuple(int(factor * width) for width in _widths)}
    for name, factor in {"half": 0.5, "whole": 1, "double": 2}.items()
}

study = dict(
    name="low_shot_scenes",
    question="Do larger networks need fewer labels, pretrained or not?",
    seeds=3,
    axes=[
        dict(
            type="Capacity",
            base=simclr,
            networks=_networks,
            images=images,
            labels=(100, 1_000, 1.0),
            labelled=images,
            num_classes=9,
            classifier=dict(steps=60, lr=1e-3),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
