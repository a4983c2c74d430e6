"""Losses, and normalization x temperature, ResNet-50 on ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709, tables 4 and 5: 100 epochs, batch 4096. Not run here.

Command: selfsup study studies/losses_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import (
        losses,
        losses_expected,
        losses_reported,
        normalization,
        source,
        temperatures,
        temperatures_expected,
        temperatures_reported,
        temperatures_without,
    )
    from .._base_.studies.papers import ablation, evaluators, tasks

study = dict(
    name="losses_imagenet",
    question="Is NT-Xent the better loss, and what do its normalization and temperature matter?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Losses",
            base=ablation,
            factors=dict(loss=losses),
            expected=losses_expected,
            published=losses_reported,
            source=source,
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
        dict(
            type="Grid",
            title="Normalization and temperature",
            base=ablation,
            factors=dict(embeddings=normalization, temperature=temperatures),
            without=temperatures_without,
            expected=temperatures_expected,
            published=temperatures_reported,
            source=source,
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
