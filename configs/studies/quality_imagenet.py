"""Worse pretraining images, evaluated clean, SimCLR against supervised, on ImageNet.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.3, figure 4. Reported: down and up 2x costs SimCLR about 15 points,
4x about 34; JPEG and salt and pepper cost little, and supervised training suffers far less. The quality of JPEG, the
side that 'resize' leaves and the filters could not be read. Not run here.

Command: selfsup study studies/quality_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, imagenet, simclr, supervised, tasks

study = dict(
    name="quality_imagenet",
    question="Which corruptions of pretraining images cost most, and whom?",
    seeds=1,
    axes=[
        dict(
            type="Quality",
            methods=dict(SimCLR=simclr, supervised=supervised),
            images=imagenet,
            corruptions={
                "down and up 4x": dict(type="LowResolution", factor=4),
                "down and up 2x": dict(type="LowResolution", factor=2),
                "resize": dict(type="Shrink"),
                "salt and pepper": dict(type="SaltAndPepper", p=0.01),
                "JPEG": dict(type="Jpeg"),
            },
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
