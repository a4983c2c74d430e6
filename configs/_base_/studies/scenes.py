"""What the studies on embedded scenes share: images, the task on unseen emoji, and shorter recipes."""

images = dict(type="Scenes", split="train", size=32, background="none", scale=(0.6, 1.0))
photos = dict(type="Scenes", split="train", size=32, background="photo", scale=(0.6, 1.0))
_shown = dict(type="Scenes", size=32, background="flat", scale=(0.6, 1.0), variants=2, seed=1)
task = dict(
    type="Task",
    train=dict(_shown, split="train"),
    val=dict(_shown, split="val"),
    test=dict(_shown, split="test"),
)
evaluators = dict(linear=dict(type="LinearProbe"), knn=dict(type="KNN", k=20, temperature=0.07))

short = {"train_dataloader.batch_size": 64, "train_cfg.max_steps": 240, "param_scheduler.warmup_steps": 24}
simclr = dict(config="simclr/simclr_scenes", options=short)
moco = dict(config="moco/moco_v2_scenes", options=short)
byol = dict(config="byol/byol_scenes", options=short)
supervised = dict(config="supervised/supervised_scenes", options=short)
