"""Pairs of augmentations on the embedded scenes: one branch transformed, the other only cropped.

Paper: Chen et al. 2020, arXiv:2002.05709, section 3.1 and figure 5, at another size; six pairs of its matrix.

Command: selfsup study studies/augmentations_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="augmentations_scenes",
    question="Is crop + color the best pair of augmentations?",
    seeds=3,
    axes=[
        dict(
            type="Pairs",
            base=simclr,
            images=images,
            size=32,
            strength=0.5,
            scale=(0.4, 1.0),
            before=[dict(type="FreshBackground", kinds=("flat",))],
            pairs=[
                ("crop", "color"),
                ("crop", "blur"),
                ("crop", "cutout"),
                ("color", "blur"),
                ("noise", "rotate"),
                ("sobel", "cutout"),
            ],
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
