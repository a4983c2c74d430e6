"""Strength of the color distortion, for SimCLR and for supervised training, ResNet-50 on ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709, table 1, without its AutoAugment, which is not among our transforms. Not run
here.

Command: selfsup study studies/color_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import source
    from .._base_.studies.papers import ablation, evaluators, supervised, tasks

_strengths = {"1/8": 0.125, "1/4": 0.25, "1/2": 0.5, "1": 1.0}
_views = "train_dataloader.views"
_reported = dict(
    SimCLR={"1/8": 0.596, "1/4": 0.610, "1/2": 0.626, "1": 0.632, "1 + blur": 0.645},
    supervised={"1/8": 0.770, "1/4": 0.767, "1/2": 0.765, "1": 0.757, "1 + blur": 0.754},
)


def _published(method: str) -> list[dict]:
    return [dict(x=strength, series=method, value=value) for strength, value in _reported[method].items()]


def _one_view(strength: float, *, blur: bool) -> dict:
    """A view as SimCLR makes two of, for training with labels."""
    changes = {name: 0.8 * strength for name in ("brightness", "contrast", "saturation")}
    transforms = [
        dict(type="RandomResizedCrop", size=224, scale=(0.08, 1.0), interpolation="bicubic", attempts=100),
        dict(type="RandomHorizontalFlip", p=0.5),
        dict(type="ColorJitter", **changes, hue=0.2 * strength, p=0.8, brightness_mode="additive"),
        dict(type="RandomGray", p=0.2),
    ]
    if blur:
        transforms.append(dict(type="GaussianBlur", sigma=(0.1, 2.0), p=0.5, kernel="simclr"))
    return dict(type="MultiView", pipelines=[dict(transforms=transforms)])


study = dict(
    name="color_imagenet",
    question="Does a stronger color distortion help, with and without labels?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Color strength, SimCLR",
            base=ablation,
            factors=dict(
                strength={
                    **{
                        name: {f"{_views}.strength": strength, f"{_views}.blur": False}
                        for name, strength in _strengths.items()
                    },
                    "1 + blur": {f"{_views}.strength": 1.0},
                },
                method=dict(SimCLR={}),
            ),
            shows="strength",
            expected=[
                dict(
                    words="SimCLR: strength 1 beats 1/8",
                    ahead=dict(method="SimCLR", strength="1"),
                    behind=dict(method="SimCLR", strength="1/8"),
                )
            ],
            published=_published("SimCLR"),
            source=source,
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
        dict(
            type="Grid",
            title="Color strength, supervised",
            base=supervised,
            factors=dict(
                strength={
                    **{name: {_views: _one_view(strength, blur=False)} for name, strength in _strengths.items()},
                    "1 + blur": {_views: _one_view(1.0, blur=True)},
                },
                method=dict(supervised={}),
            ),
            shows="strength",
            expected=[
                dict(
                    words="supervised: strength 1/8 beats 1",
                    ahead=dict(method="supervised", strength="1/8"),
                    behind=dict(method="supervised", strength="1"),
                )
            ],
            published=_published("supervised"),
            source=source,
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
