"""In-domain, cross-domain, pooled and fused: ImageNet, Places365, iNaturalist 2021 and GLC20.

Paper: Cole et al. 2022, arXiv:2105.05837, tables 1 to 3. Not run here.

Command: selfsup study studies/domain_papers --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, glc20, imagenet, inat2021, places365, simclr, supervised, tasks

_classes = {"imagenet": 1000, "inat2021": 10_000}

study = dict(
    name="domain_papers",
    question="Does it matter which images are pretrained on, do pooled ones help, and fused representations?",
    seeds=1,
    axes=[
        dict(
            type="Domain",
            base=simclr,
            sources=dict(imagenet=imagenet, places365=places365, inat2021=inat2021, glc20=glc20),
            tasks=tasks,
            count=500_000,
            pooled=[
                ("imagenet", "inat2021"),
                ("imagenet", "places365"),
                ("places365", "inat2021"),
                ("imagenet", "places365", "inat2021", "glc20"),
            ],
            supervised={
                name: dict(supervised, options={**supervised["options"], "model.num_classes": number})
                for name, number in _classes.items()
            },
            fused=[("imagenet", "inat2021"), ("inat2021", "imagenet")],
            evaluators=evaluators,
            published=[
                dict(x="imagenet", series="imagenet", value=0.647),
                dict(x="imagenet", series="imagenet & inat2021", value=0.641),
                dict(x="imagenet", series="imagenet & inat2021, supervised", value=0.605),
                dict(x="inat2021", series="inat2021", value=0.506),
                dict(x="inat2021", series="inat2021 & imagenet", value=0.520),
                dict(x="inat2021", series="inat2021 & imagenet, supervised", value=0.553),
            ],
            source="Cole et al. 2022, arXiv:2105.05837, table 3 (1M images; which of 0.605 and 0.553 is which is "
            "reconstructed from its text)",
        ),
    ],
)
