"""Frozen features on ImageNet: one training image in twenty to learn from, all 50,000 of val to be evaluated on.

Meant for watching a run: the linear probe learns from 20 images a class, solved in seconds on a GPU and in minutes on
one CPU core. The papers train their probes on all training images, with augmentation, for 100 epochs.
"""

_some = dict(
    type="Subset",
    dataset=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    fraction=0.05,
)
_val = dict(type="ImageList", root="data/imagenet/val", labels="folder")

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07, train=_some, test=_val, size=224, resize=256),
    linear=dict(
        type="LinearProbe",
        train=_some,
        test=_val,
        size=224,
        resize=256,
        max_images=20_000,
        weight_decays=(1.0, 0.1, 1e-2, 1e-3),
    ),
    spread=dict(type="Spread", test=_val, size=224, resize=256),
)
