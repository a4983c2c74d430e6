"""Nine categories of emoji: learn from the training ids, be evaluated on ids never seen in training."""

_scenes = dict(type="Scenes", size=32, background="flat", scale=(0.6, 1.0), variants=2, seed=1)

tasks = dict(
    category=dict(
        type="Task",
        train=dict(split="train", **_scenes),
        val=dict(split="val", **_scenes),
        test=dict(split="test", **_scenes),
    ),
)
evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
    spread=dict(type="Spread"),
)
input_contract = dict(size=32, resize="none")
