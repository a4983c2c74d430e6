"""Frozen features on ImageNet: neighbors, linear classifiers, and the sets that test how they hold up.

Protocols: kNN as solo-learn and as VISSL run it, a solved linear probe, SimCLR's logistic regression on the official
10 % of the labels (``data/imagenet/10percent.txt``, the list of google-research/simclr), few shots; ImageNet-V2 (whose
folders are numbers of classes), -A, -R and -Sketch by a probe that was fitted on a tenth of ImageNet, each on its own
classes.

Data: ``data/imagenet``, ``data/imagenet_v2`` and so on, as docs/evaluation.md describes them.

Command: selfsup evaluate WEIGHTS --config eval/imagenet
"""

_imagenet = dict(type="Standard", name="imagenet", root="data/imagenet")
_others = ("imagenet_a", "imagenet_r", "imagenet_sketch")

tasks = dict(
    imagenet=dict(type="StandardTask", set="imagenet", root="data/imagenet"),
    imagenet_10_percent=dict(
        type="StandardTask", set="imagenet", root="data/imagenet", label_list="data/imagenet/10percent.txt"
    ),
    robustness=dict(
        type="Task",
        train=dict(split="train", **_imagenet),
        test={name: dict(type="Standard", name=name, root=f"data/{name}", split="test") for name in _others},
        max_train=128_116,
    ),
    imagenet_v2=dict(
        type="Task",
        train=dict(split="train", **_imagenet),
        test=dict(type="Standard", name="imagenet_v2", root="data/imagenet_v2", split="test"),
        max_train=128_116,
    ),
)
evaluators = dict(
    knn=dict(type="KNN", task="imagenet"),
    knn_vissl=dict(type="VisslKNN", task="imagenet"),
    linear=dict(type="LinearProbe", task="imagenet"),
    logistic=dict(type="LogisticRegression", task="imagenet_10_percent"),
    few_shot=dict(type="FewShot", task="imagenet"),
    subset=dict(type="ClassSubset", restrict=True, probe=dict(type="LinearProbe"), task="robustness"),
    numbered=dict(type="ClassSubset", mapping="number", probe=dict(type="LinearProbe"), task="imagenet_v2"),
    spread=dict(type="Spread", task="imagenet"),
)
