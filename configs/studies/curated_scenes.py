"""Curated against uncurated images, on the embedded scenes.

Paper: Goyal et al. 2021, arXiv:2103.01988, asks whether images as they come will do; here at another size. Curated: one
emoji a picture. Uncurated: pictures with one to four of the same emoji, small, anywhere, covering each other. Both have
as many images; the test is on single emoji that neither has seen.

Command: selfsup study studies/curated_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

_uncurated = dict(
    type="CrowdedScenes", split="train", size=32, num_images=2_500, count=(1, 4), scale=(0.3, 0.6), background="none"
)

study = dict(
    name="curated_scenes",
    question="Do images as they come do as well as chosen ones?",
    seeds=3,
    axes=[
        dict(
            type="Domain",
            base=simclr,
            sources=dict(curated=images, uncurated=_uncurated),
            tasks=dict(category=task),
            count=2_500,
            pooled=[("curated", "uncurated")],
            compared=[("curated", "uncurated")],
            evaluators=evaluators,
        ),
    ],
)
