"""What the studies on Fashion-MNIST share: 69,947 photographs of clothes, 28 pixels, gray, ten classes.

``python -m benchmarks.fashion_mnist`` writes the folder. By a seed 6 % of the images are tested on and 2 % choose; the
others are pretrained on, and 5,000 of them are what classifiers learn from.
"""

_all = dict(type="ImageList", root="data/fashion_mnist", labels="folder")
_parts = {part: dict(type="Part", dataset=_all, part=part, val=0.02, test=0.06) for part in ("train", "val", "test")}
images = _parts["train"]
task = dict(type="Task", **_parts, max_train=5_000)

_views = dict(size=32, scale=(0.4, 1.0))
_short = {
    "train_dataloader.batch_size": 64,
    "train_cfg.max_steps": 240,
    "param_scheduler.warmup_steps": 24,
    "input_contract": dict(size=32, resize="square", crop="none"),
}
_pair = {**_short, "train_dataloader.views": dict(type="SimCLRViews", strength=0.5, blur=False, **_views)}
_one = {**_short, "train_dataloader.views": dict(type="SupervisedViews", jitter=0.1, **_views), "model.num_classes": 10}

simclr = dict(config="simclr/simclr_scenes", options=_pair)
moco = dict(config="moco/moco_v2_scenes", options={**_pair, "model.queue_length": 2048})
byol = dict(config="byol/byol_scenes", options=_pair)
supervised = dict(config="supervised/supervised_scenes", options=_one)
