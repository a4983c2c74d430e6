"""Worse pretraining images, evaluated clean, self-supervised against supervised, on Fashion-MNIST.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.3, at another size. Each image is corrupted once. The quality of
JPEG, the side that 'resize' leaves and the filters could not be read in the paper.

Command: selfsup study studies/quality_fashion_mnist
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.fashion_mnist import images, simclr, supervised, task
    from .._base_.studies.scenes import evaluators

study = dict(
    name="quality_fashion_mnist",
    question="Which corruptions of pretraining images cost most, and whom?",
    seeds=3,
    axes=[
        dict(
            type="Quality",
            methods=dict(SimCLR=simclr, supervised=supervised),
            images=images,
            corruptions={
                "down and up 4x": dict(type="LowResolution", factor=4),
                "salt and pepper": dict(type="SaltAndPepper", p=0.01),
                "JPEG": dict(type="Jpeg", quality=10),
            },
            task=task,
            task_name="clothes",
            evaluators=evaluators,
        ),
    ],
)
