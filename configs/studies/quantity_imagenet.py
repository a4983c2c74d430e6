"""How many images and labels: SimCLR on ImageNet, and SimCLR, MoCo and BYOL on iNaturalist 2021.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.1, figures 2 to 4. Reported: 500k and 1M images differ by less than
one to two points; from 50k to 250k accuracy often gains more than ten. Not run here.

Command: selfsup study studies/quantity_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import byol, evaluators, imagenet, inat2021, moco, simclr, tasks

counts = (50_000, 125_000, 250_000, 500_000, 1_000_000)

study = dict(
    name="quantity_imagenet",
    question="Do more pretraining images help, how long, and when does pretraining beat training from scratch?",
    seeds=1,
    axes=[
        dict(
            type="Quantity",
            methods=dict(SimCLR=simclr),
            images=imagenet,
            counts=counts,
            labels=(10_000, 50_000, 100_000, None),
            labelled=imagenet,
            num_classes=1000,
            classifier=dict(steps=20_000, lr=0.1),
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
        dict(
            type="Quantity",
            methods=dict(SimCLR=simclr, MoCo=moco, BYOL=byol),
            images=inat2021,
            counts=counts,
            ways=("linear",),
            task=tasks["inat2021"],
            task_name="inat2021",
            evaluators=evaluators,
        ),
    ],
)
