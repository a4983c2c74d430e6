"""Parts, numbers and views that do not fit a method are rejected with their place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.losses import (
    CosineLoss,
    CrossEntropyLoss,
    DistillationLoss,
    InBatchInfoNCELoss,
    InfoNCELoss,
    NegativeCosineLoss,
    NTXentLoss,
    SwAVLoss,
)
from selfsup.methods import BYOL, Distillation, Method, MoCo, MoCoV3, SimCLR, SimSiam, Supervised, SwAV
from selfsup.necks import HiddenLayers, ProjectionNeck, Prototypes
from tests.methods.tiny import TinyBackbone, images


def neck(in_dim: int = 8, out_dim: int = 4) -> ProjectionNeck:
    return ProjectionNeck(in_dim, (), out_dim)


def simclr(**parts: Any) -> Method:
    return SimCLR(**{"backbone": TinyBackbone(), "neck": neck(), "loss": NTXentLoss(0.5), **parts})


def swav(**parts: Any) -> Method:
    own = {"backbone": TinyBackbone(), "neck": neck(), "prototypes": Prototypes(4, 5), "loss": SwAVLoss()}
    return SwAV(**{**own, **parts})


def moco(**parts: Any) -> Method:
    return MoCo(**{"backbone": TinyBackbone(), "neck": neck(), "loss": InfoNCELoss(0.2), "queue_length": 12, **parts})


def with_predictor(kind: type[Method], loss: Any, **parts: Any) -> Method:
    return kind(**{"backbone": TinyBackbone(), "neck": neck(), "predictor": neck(4), "loss": loss, **parts})


def byol(**parts: Any) -> Method:
    return with_predictor(BYOL, CosineLoss(), **{"teacher_init": "copy", **parts})


def classifier(**parts: Any) -> Supervised:
    return Supervised(**{"backbone": TinyBackbone(), "num_classes": 3, "loss": CrossEntropyLoss(), **parts})


def distillation(**parts: Any) -> Method:
    return Distillation(**{"backbone": TinyBackbone(), "teacher": classifier(), "loss": DistillationLoss(), **parts})


@pytest.mark.parametrize(
    ("build", "path", "got"),
    [
        (lambda: simclr(neck=neck(9)), "neck.in_dim", 9),
        (lambda: swav(neck=neck(9)), "neck.in_dim", 9),
        (lambda: swav(prototypes=Prototypes(6, 5)), "prototypes.in_dim", 6),
        (lambda: swav(queue_length=-1), "queue_length", -1),
        (lambda: swav(queue_start_epoch=-1), "queue_start_epoch", -1),
        (lambda: moco(queue_length=0), "queue_length", 0),
        (lambda: moco(momentum=1.1), "momentum", 1.1),
        (lambda: with_predictor(MoCoV3, InBatchInfoNCELoss(0.2), end_momentum=-1), "end_momentum", -1),
        (lambda: byol(predictor=neck(5)), "predictor.in_dim", 5),
        (lambda: byol(predictor=neck(4, 5)), "predictor.out_dim", 5),
        (lambda: classifier(num_classes=1), "num_classes", 1),
        (lambda: classifier(mixup_alpha=-0.1), "mixup_alpha", -0.1),
        (lambda: classifier(neck=HiddenLayers(4, (2,))), "neck.in_dim", 4),
        (lambda: distillation(alpha=0.0), "alpha", 0.0),
        (lambda: distillation(alpha=1.5), "alpha", 1.5),
    ],
)
def test_parts_and_numbers_that_do_not_fit_are_rejected(build: Callable[[], Method], path: str, got: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [(path, got)]


@pytest.mark.parametrize(
    ("method", "num_views"),
    [
        (simclr(), 1),
        (simclr(), 3),
        (swav(loss=SwAVLoss(assign_views=(0, 2))), 2),
        (moco(), 3),
        (with_predictor(MoCoV3, InBatchInfoNCELoss(0.2)), 3),
        (byol(), 1),
        (with_predictor(SimSiam, NegativeCosineLoss()), 3),
        (classifier(), 2),
        (distillation(), 2),
    ],
)
def test_a_number_of_views_that_the_method_cannot_take_is_rejected(method: Method, num_views: int) -> None:
    with pytest.raises(ConfigError, match=f"of each image, got {num_views}"):
        method.loss(images(*[8] * num_views), torch.tensor([0, 1, 2, 0]))
    with pytest.raises(ConfigError, match=f"of each image, got {num_views}"):
        method.check_num_views(num_views)
