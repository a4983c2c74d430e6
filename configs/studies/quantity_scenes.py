"""How many images and labels, on the embedded scenes, for three methods.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.1, at another size. Sized for two CPU cores.

Command: selfsup study studies/quantity_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import byol, evaluators, images, moco, simclr, task

study = dict(
    name="quantity_scenes",
    question="Do more pretraining images help, how long, and when does pretraining beat training from scratch?",
    seeds=3,
    axes=[
        dict(
            type="Quantity",
            methods=dict(SimCLR=simclr),
            images=images,
            counts=(300, 1_000, 3_000, 1.0),
            labels=(300, 2_000),
            labelled=images,
            num_classes=9,
            classifier=dict(steps=150, lr=1e-3),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
        dict(
            type="Quantity",
            methods=dict(MoCo=moco, BYOL=byol),
            images=images,
            counts=(300, 1.0),
            ways=("linear",),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
