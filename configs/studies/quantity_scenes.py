"""How many images and labels, on the embedded scenes, with SimCLR.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.1, at another size. Sized for two CPU cores.

Command: selfsup study studies/quantity_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

_batch = {"train_dataloader.batch_size": 32, "train_cfg.max_steps": 480, "param_scheduler.warmup_steps": 48}
_small = dict(simclr, options=dict(simclr["options"], **_batch))  # so that 32 images fill a batch

study = dict(
    name="quantity_scenes",
    question="Do more pretraining images help, how long, and when does pretraining beat training from scratch?",
    seeds=3,
    axes=[
        dict(
            type="Quantity",
            methods=dict(SimCLR=_small),
            images=images,
            counts=(32, 512, 1.0),
            ways=("linear",),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
        dict(
            type="Quantity",
            methods=dict(SimCLR=_small),
            images=images,
            counts=(1.0,),
            labels=(300,),
            labelled=images,
            num_classes=9,
            classifier=dict(steps=60, lr=1e-3),
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
