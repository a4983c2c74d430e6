"""Frozen features on ImageNet: 20 training images a class to learn from, all 50,000 of val as test.

Meant for watching a run, which sees a fifth of the 20,000 instead of val: the linear probe is solved in seconds on a
GPU and in minutes on one CPU core. The papers train their probes on all training images, with augmentation, for 100
epochs.
"""

tasks = dict(
    imagenet=dict(
        type="Task",
        train=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
        test=dict(type="ImageList", root="data/imagenet/val", labels="folder"),
        max_train=20_000,
    ),
)
evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe", weight_decays=(1.0, 0.1, 1e-2, 1e-3)),
    spread=dict(type="Spread"),
)
