"""A study of seconds: networks of a few thousand numbers, pictures of 16 pixels, six steps."""

TINY = """
_scenes = dict(type="Scenes", size=16, background="flat", variants=1)
_backbone = dict(type="RegNet", depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), group_width=8)
_options = {
    "model.backbone": _backbone,
    "model.neck.hidden_dims": (16,),
    "model.neck.out_dim": 8,
    "train_dataloader.batch_size": 16,
    "train_dataloader.views": dict(type="SimCLRViews", size=16, blur=False, scale=(0.4, 1.0)),
    "train_cfg.max_steps": 6,
    "param_scheduler.warmup_steps": 1,
    "input_contract.size": 16,
    "default_hooks.checkpoint.every_epochs": None,
    "default_hooks.checkpoint.every_steps": 2,
}
_task = dict(
    type="Task",
    train=dict(type="Subset", dataset=dict(_scenes, split="train"), count=200),
    val=dict(type="Subset", dataset=dict(_scenes, split="val"), count=60),
    test=dict(type="Subset", dataset=dict(_scenes, split="test"), count=100),
)
study = dict(
    name="tiny",
    question="Does the whole way work?",
    seeds=1,
    axes=[
        dict(
            type="Quantity",
            methods=dict(SimCLR=dict(config="simclr/simclr_scenes", options=_options)),
            images=dict(_scenes, split="train"),
            counts=(COUNT, 1.0),
            labels=(40,),
            labelled=dict(_scenes, split="train"),
            num_classes=9,
            classifier=dict(steps=4),
            task=_task,
            task_name="category",
            evaluators=dict(knn=dict(type="KNN", k=5)),
            score="knn/top1",
        ),
    ],
)
"""
