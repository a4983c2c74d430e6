"""A study of minutes that shows the whole way: fewer images and labels, linear, fine-tuned and from scratch.

Command: make study, or selfsup study studies/quick_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="quick_scenes",
    question="Do more images help, and does pretraining pay, after a minute of training?",
    seeds=2,
    axes=[
        dict(
            type="Quantity",
            methods=dict(SimCLR=dict(simclr, options={"train_cfg.max_steps": 120, "param_scheduler.warmup_steps": 12})),
            images=images,
            counts=(300, 1.0),
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
