"""The kits of backbones, necks and losses reject broken ones, naming the broken promise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.testing import (
    check_backbone,
    check_loss,
    check_neck,
)
from tests.contracts.examples import rows
from tests.contracts.sound import Net, said


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
