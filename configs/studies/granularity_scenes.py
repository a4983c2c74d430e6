"""Accuracy by level of a hierarchy (category, subcategory, emoji), self-supervised against supervised.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.4, at another size. The classes are the 382 emoji that no
pretraining has seen, learned from some scenes of each and evaluated on others; supervised pretraining has seen the
subcategories of other emoji.

Command: selfsup study studies/granularity_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import images, simclr, supervised

_emoji = dict(type="Scenes", split="test", size=32, background="flat", scale=(0.6, 1.0), level="emoji")

study = dict(
    name="granularity_scenes",
    question="How does accuracy fall as classes become finer, with and without labels in pretraining?",
    seeds=3,
    axes=[
        dict(
            type="GranularityAxis",
            methods={
                "SimCLR": simclr,
                "supervised": dict(supervised, options=dict(supervised["options"], **{"model.num_classes": 98})),
            },
            images=dict(images, level="subcategory"),
            levels=("category", "subcategory"),
            task=dict(
                type="Task",
                train=dict(_emoji, variants=2, seed=1),
                val=dict(_emoji, variants=1, seed=2),
                test=dict(_emoji, variants=1, seed=3),
                hierarchy="source",
            ),
            task_name="emoji",
        ),
    ],
)
