"""The kits of methods, transforms, evaluators and hooks reject broken ones, naming the broken promise."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.losses import NTXentLoss
from selfsup.methods import Method, Progress, SimCLR
from selfsup.necks import ProjectionNeck
from selfsup.testing import (
    check_evaluator,
    check_hook,
    check_method,
    check_transform,
)
from tests.contracts.sound import Net, said


class Sound(SimCLR):
    """A method that keeps every promise; those below each break one."""

    def __init__(self) -> None:
        super().__init__(Net(), ProjectionNeck(6, (8,), 4), NTXentLoss(0.5))


class NoLoss(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"objective": super().loss(views)["loss"]}


class Vector(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"loss": super().loss(views)["loss"], "features_mean": views[0].mean((1, 2, 3))}


class Idle(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = nn.Linear(4, 4)


class Remembers(Sound):
    """Keeps the number of steps where no state dict sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def after_step(self, progress: Progress) -> None:
        self.steps += 1

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"loss": super().loss(views)["loss"] * (1 + self.steps)}


class Narrow(Sound):
    def features(self, images: Tensor) -> Tensor:
        return super().features(images)[:, :3]


class Unprepared(Sound):
    def before_step(self, progress: Progress) -> None:
        raise KeyError("momentum")


class Unpicklable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.rule = lambda step: step


def test_a_sound_method_passes() -> None:
    torch.manual_seed(0)
    check_method(Sound())


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (NoLoss, "NoLoss: loss must return an entry whose name starts with 'loss', got ['objective']"),
        (Vector, "Vector: 'features_mean' of the loss must be a tensor of shape (), got (4,)"),
        (
            Idle,
            "Idle: a gradient must reach every trainable parameter in training, or several processes wait for each "
            "other for ever; none reaches predictor.weight, predictor.bias",
        ),
        (
            Remembers,
            "Remembers: after 3 steps, one that has not trained, with its state dict loaded, must give exactly the "
            "next loss; 'loss' is ",
        ),
        (Narrow, "Narrow: the features in training mode must have shape (4, 6), got (4, 3)"),
        (Unprepared, "Unprepared: before_step(progress) must not raise: KeyError: 'momentum'"),
        (
            Unpicklable,
            "Unpicklable: must survive pickle, as worker processes need; define its parts at the top of a module: ",
        ),
    ],
)
def test_a_broken_method_is_rejected(kind: type[Method], sentence: str) -> None:
    torch.manual_seed(0)
    assert said(check_method, kind()).startswith(sentence)


def test_what_is_called_untrained_must_be() -> None:
    torch.manual_seed(0)
    check_method(Idle(), untrained=("predictor.*",))
    sentence = "Sound: no gradient should reach neck.mlp.3.weight, neck.mlp.3.bias, named as untrained, but one does"
    assert said(check_method, Sound(), untrained=("neck.mlp.3.*",)) == sentence


class Darken:
    """A transform that keeps every promise; those below each break one."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image // np.uint8(1 + rng.integers(3))


class Global(Darken):
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image // np.uint8(1 + np.random.randint(3))


class Seeded(Darken):
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image // np.uint8(1 + random.getstate()[1][5] % 3)


class InPlace(Darken):
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image //= np.uint8(2)
        return image


class ToFloat(Darken):
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image / 255


class InMemoryOrder(Darken):
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image.ravel("K").reshape(image.shape)


class Counts(Darken):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.calls += 1
        return image // np.uint8(self.calls)


def test_a_sound_transform_passes() -> None:
    check_transform(Darken())


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (Global(), "Global: must not draw from a global random generator; draw from rng"),
        (Seeded(), "Seeded: must not look at a global random generator; draw from rng"),
        (InPlace(), "InPlace: must not write to its input"),
        (ToFloat(), "ToFloat: the result must be uint8, got float64"),
        (InMemoryOrder(), "InMemoryOrder: must give the same for an image that is not contiguous"),
        (Counts(), "Counts: must give the same for the same image and the same rng"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_transform_is_rejected(transform: Any, sentence: str) -> None:
    assert said(check_transform, transform) == sentence


class Judge:
    """An evaluator that keeps every promise; those below each break one."""

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        training = {part: part.training for part in backbone.modules()}
        backbone.eval()
        with torch.no_grad():
            features = backbone(torch.linspace(-1, 1, 3 * 64).view(1, 3, 8, 8))
        for part, flag in training.items():
            part.training = flag
        return {"mean": float(features.mean().sigmoid())}


class LeavesEval(Judge):
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        return super().evaluate(backbone.eval())


class Percent(Judge):
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        return {"top1": 50.0 + super().evaluate(backbone)["mean"]}


class AsTensor(Judge):
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        return {"top1": torch.tensor(super().evaluate(backbone)["mean"])}  # type: ignore[dict-item]


class InTraining(Judge):
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        backbone(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
        return super().evaluate(backbone)


class Draws(Judge):
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        torch.rand(1)
        return super().evaluate(backbone)


@pytest.mark.parametrize(
    ("evaluator", "sentence"),
    [
        (
            LeavesEval(),
            "LeavesEval: must leave the training flags as they were, but not of the backbone itself, bn, dropout",
        ),
        (Percent(), "Percent: score 'top1' must be a fraction in [0, 1], got 50."),
        (AsTensor(), "AsTensor: score 'top1' must be a float, got Tensor: tensor("),
        (InTraining(), "InTraining: must not change the backbone's weights or statistics"),
        (Draws(), "Draws: must not draw from a global random generator"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_evaluator_is_rejected(evaluator: Any, sentence: str) -> None:
    assert said(check_evaluator, evaluator).startswith(sentence)


def test_a_sound_evaluator_passes() -> None:
    check_evaluator(Judge())


class Meddles(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with torch.no_grad():
            for parameter in runner.method.neck.parameters():
                parameter += 1


class Hurried(Hook):
    priority = "AT_ONCE"


class Breaks(Hook):
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise ZeroDivisionError("no batch")


def test_a_broken_hook_is_rejected() -> None:
    assert said(check_hook, Meddles()).startswith("Meddles: must not change the training, but the loss of step 1 is ")
    assert said(check_hook, Hurried()).startswith(
        "Hurried: its priority must be one of MMEngine's words or a number from 0 to 100, got 'AT_ONCE': "
    )
    sentence = "Breaks: a training of 2 steps must run to its end with it: ZeroDivisionError: no batch"
    assert said(check_hook, Breaks()) == sentence
    assert said(check_hook, object()) == "object: must be an mmengine.hooks.Hook"


def test_a_hook_that_is_there_to_change_the_training_may() -> None:
    check_hook(Meddles(), observes=False)
