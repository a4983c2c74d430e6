"""Every kit rejects broken components, each with the sentence that names the broken promise."""

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
    check_backbone,
    check_evaluator,
    check_hook,
    check_loss,
    check_method,
    check_neck,
    check_transform,
)
from tests.contracts.examples import rows


def said(check: Any, *arguments: Any, **options: Any) -> str:
    """The sentence with which a kit rejects."""
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **options)
    return str(caught.value)


class Net(nn.Module):
    """A backbone that keeps every promise; those below each break one."""

    def __init__(self, out_dim: Any = 6) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, 6, 4, stride=4)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn(self.conv(images)).relu().mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.bn(self.conv(images)).relu()]


class Unused(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)


class Writes(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.sub_(0.5))


class LooksAtTheBatch(Net):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features - features.mean(dim=0)


class MovesInEval(Net):
    def forward(self, images: Tensor) -> Tensor:
        self.bn.running_mean += 1
        return super().forward(images)


class Outside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(6)


class OneSize(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.view(-1, 3, 32, 32))


class LooksAtStrides(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if images.is_contiguous() else 2.0)


class Infinite(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0


class Coarse(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if not torch.is_autocast_enabled("cpu") else 1.5)


class Looks(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2.0 if float(images.abs().sum()) < 0 else 1.0)


def test_a_sound_backbone_passes() -> None:
    torch.manual_seed(0)
    check_backbone(Net(), sizes=(32, 48), strides=(4,))


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (Net(None), "Net: out_dim must be an int > 0, known before the first forward pass, got None"),
        (Net(True), "Net: out_dim must be an int > 0, known before the first forward pass, got True"),
        (Net(5), "Net: the features in training mode must have shape (3, 5), got (3, 6)"),
        (Infinite(), "Infinite: the features in training mode must be finite for normal inputs"),
        (Writes(), "Writes: must not write to its input, but does in training mode"),
        (
            MovesInEval(),
            "MovesInEval: must leave its state alone in eval mode, or an evaluation would change the training",
        ),
        (
            LooksAtTheBatch(),
            "LooksAtTheBatch: the output for an image must not depend on the others of its batch in eval mode, but "
            "differs by ",
        ),
        (OneSize(), "OneSize: must take images of 48 pixels after those of 32: RuntimeError: "),
        (
            Unused(),
            "Unused: a gradient must reach every trainable parameter in training, or several processes wait for each "
            "other for ever; none reaches head.weight, head.bias",
        ),
        (
            Outside(),
            "Outside: tensors must be parameters or buffers, or they are neither saved nor moved to a device; scale is "
            "neither",
        ),
        (LooksAtStrides(), "LooksAtStrides: must give the same for channels-last images, but differs by "),
        (Coarse(), "Coarse: must give nearly the same under bfloat16 autocast, but is off by "),
        (Looks(), "Looks: must run on the meta device, where --dry-run counts its multiply-adds: "),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_a_broken_backbone_is_rejected(net: nn.Module, sentence: str) -> None:
    assert said(check_backbone, net, sizes=(32, 48), strides=(4,)).startswith(sentence)


@pytest.mark.parametrize(
    ("strides", "sentence"),
    [
        ((4, 8), "Net: feature_maps must be a list of 2 tensors, got 1"),
        ((8,), "Net: feature_maps at strides (8,) of 32-pixel images must be of size [4], got [8]"),
    ],
)
def test_feature_maps_of_other_strides_are_rejected(strides: tuple[int, ...], sentence: str) -> None:
    torch.manual_seed(0)
    assert said(check_backbone, Net(), sizes=(32,), strides=strides) == sentence


class Neck(nn.Linear):
    def __init__(self, in_dim: int = 5, out_dim: int = 4) -> None:
        super().__init__(in_dim, out_dim)
        self.in_dim, self.out_dim = in_dim, out_dim


class Detached(Neck):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.detach())


class Transposed(Neck):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).T


def test_a_broken_neck_is_rejected() -> None:
    sentence = "Detached: a gradient must reach its input, or no backbone learns behind it"
    assert said(check_neck, Detached()) == sentence
    sentence = "Transposed: the embeddings in training mode must have shape (3, 4), got (4, 3)"
    assert said(check_neck, Transposed(), batch=3) == sentence
    neck = Neck()
    del neck.in_dim
    assert said(check_neck, neck) == "Neck: in_dim must be an int > 0, known before the first forward pass, got None"


class PerSample(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum(dim=1)


class FirstMatters(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a[0] - b[0]).square().sum() + (a - b).square().mean()


class HalfPrecision(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T).mean()


class Forgets(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b.detach()).square().mean()


class Roots(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a.float().var(dim=0).sqrt().mean() + b.float().square().mean()


class Normalises(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            a /= a.norm(dim=1, keepdim=True)
        return (a * b).sum()


@pytest.mark.parametrize(
    ("loss", "options", "sentence"),
    [
        (PerSample(), {}, "PerSample: the loss must be one number, a tensor of shape (), got (4,)"),
        (FirstMatters(), {}, "FirstMatters: must not depend on the order of the samples, but differs by "),
        (
            HalfPrecision(),
            {},
            "HalfPrecision: the loss of bfloat16 inputs under autocast must be float32 or better, got torch.bfloat16",
        ),
        (Forgets(), {}, "Forgets: a gradient must reach input 1 for the example inputs"),
        (Forgets(), {"constant": (0, 1)}, "Forgets: no gradient may reach input 0, which is constant, but one does"),
        (Roots(), {}, "Roots: the gradient of input 0 must be finite for embeddings that are all the same"),
        (Normalises(), {}, "Normalises: must not write to its inputs"),
    ],
)
def test_a_broken_loss_is_rejected(loss: nn.Module, options: dict[str, Any], sentence: str) -> None:
    assert said(check_loss, loss, rows(4, 3, 0), rows(4, 3, 1), **options).startswith(sentence)


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
