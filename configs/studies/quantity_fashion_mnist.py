"""How many images, and how many labels, on Fashion-MNIST, with SimCLR, MoCo and BYOL.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.1, at another size. Sized for two CPU cores.

Command: selfsup study studies/quantity_fashion_mnist
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.fashion_mnist import byol, images, moco, simclr, task
    from .._base_.studies.scenes import evaluators

_shared = dict(type="Quantity", images=images, task=task, task_name="clothes", evaluators=evaluators)

study = dict(
    name="quantity_fashion_mnist",
    question="Do more pretraining images help, how long, and when does pretraining beat training from scratch?",
    seeds=3,
    axes=[
        dict(_shared, methods=dict(SimCLR=simclr, MoCo=moco, BYOL=byol), counts=(64, 1024, 1.0), ways=("linear",)),
        dict(
            _shared,
            methods=dict(SimCLR=simclr),
            counts=(1.0,),
            labels=(100,),
            labelled=images,
            num_classes=10,
            classifier=dict(steps=60, lr=1e-3),
        ),
    ],
)
