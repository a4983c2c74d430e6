"""Curated against uncurated images: ImageNet against a folder of images as they come.

Paper: Goyal et al. 2021, arXiv:2103.01988, which pretrains on a billion public images that nobody has; the uncurated
ones are expected in data/uncurated. Both sources give as many images. Not run here.

Command: selfsup study studies/curated_papers --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, imagenet, simclr, tasks

study = dict(
    name="curated_papers",
    question="Do images as they come do as well as chosen ones?",
    seeds=1,
    axes=[
        dict(
            type="Domain",
            base=simclr,
            sources=dict(curated=imagenet, uncurated=dict(type="ImageList", root="data/uncurated")),
            tasks=tasks,
            count=1_000_000,
            pooled=[("curated", "uncurated")],
            compared=[("curated", "uncurated")],
            evaluators=evaluators,
        ),
    ],
)
