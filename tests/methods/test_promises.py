"""Parts that do not give what they said are named, where the next part would stumble or learn from it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods import Method, MoCo, SimCLR, SimSiam
from selfsup.methods.promises import check_parts
from tests.methods.tiny import TinyBackbone, images

NECK = {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 4}


class Liar(nn.Module):
    """Says one width and gives another."""

    def __init__(self, in_dim: int = 8, out_dim: int = 4, gives: Callable[[Tensor], Any] = lambda x: x[:, :3]) -> None:
        super().__init__()
        self.in_dim, self.out_dim, self.gives = in_dim, out_dim, gives

    def forward(self, features: Tensor) -> Any:
        return self.gives(features)


class Unreduced(nn.Module):
    """A loss that forgot its mean."""

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        return (z_a * z_b).sum(dim=1)


@pytest.mark.parametrize(
    "gives, got",
    [
        (lambda x: x[:, :3], "(4, 3)"),
        (lambda x: x[:2, :4], "(2, 4)"),
        (lambda x: x[:, :4, None, None], "(4, 4, 1, 1)"),
        (lambda x: [x], "list"),
    ],
)
def test_a_neck_that_gives_something_else_is_named_by_every_method(gives: Callable[[Tensor], Any], got: str) -> None:
    info_nce = {"type": "InfoNCELoss", "temperature": 0.2}
    methods: list[Method] = [
        SimCLR(TinyBackbone(), Liar(gives=lambda x: gives(x.chunk(2)[0])), {"type": "NTXentLoss"}),
        MoCo(TinyBackbone(), Liar(gives=gives), info_nce, queue_length=8, momentum=0.9),
        SimSiam(TinyBackbone(), Liar(gives=gives), NECK, {"type": "NegativeCosineLoss"}),
    ]
    for method in methods:
        batch = 8 if isinstance(method, SimCLR) else 4
        with pytest.raises(ConfigError) as caught:
            method.loss(images(8, 8))
        said = f"model.neck: Liar must return (B, out_dim) = ({batch}, 4), got {got}"
        assert str(caught.value) == said, type(method).__name__


def test_a_part_that_gives_whole_numbers_is_named_before_the_next_one_stumbles() -> None:
    method = SimCLR(TinyBackbone(), Liar(gives=lambda x: x[:, :4].long()), {"type": "NTXentLoss"})
    with pytest.raises(ConfigError) as caught:
        method.loss(images(8, 8))
    assert str(caught.value) == "model.neck: Liar must return a floating-point tensor, got torch.int64"
    method.backbone.forward = lambda pixels: pixels.mean((2, 3)).repeat(1, 3)[:, : method.backbone.out_dim].long()
    with pytest.raises(ConfigError, match=r"model\.backbone: TinyBackbone must return a floating-point tensor, got"):
        method.loss(images(8, 8))


def test_a_predictor_that_gives_something_else_is_named() -> None:
    method = SimSiam(TinyBackbone(), NECK, Liar(4, 4), {"type": "NegativeCosineLoss"})
    with pytest.raises(ConfigError) as caught:
        method.loss(images(8, 8))
    assert str(caught.value) == "model.predictor: Liar must return (B, out_dim) = (4, 4), got (4, 3)"


def test_a_copied_part_keeps_its_promise_and_one_that_is_used_again_is_watched_once() -> None:
    backbone = TinyBackbone()
    first = SimCLR(backbone, NECK, {"type": "NTXentLoss"})
    SimCLR(backbone, NECK, {"type": "NTXentLoss"})
    assert len(backbone._forward_hooks) == 1
    copied = copy.deepcopy(first)
    copied.backbone.forward = lambda images: images.mean((2, 3))
    with pytest.raises(ConfigError, match=r"model\.backbone: TinyBackbone must return"):
        copied.loss(images(8, 8))
    first.loss(images(8, 8))


class Cut(TinyBackbone):
    """Its features have lost their way back to its weights."""

    def __init__(self, cut: Callable[[Callable[..., Tensor]], Callable[..., Tensor]]) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, images: Tensor) -> Tensor:
        return self.cut(super().forward)(images)


def detached(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda images: forward(images).detach()


@pytest.mark.parametrize("cut", [detached, torch.no_grad()], ids=["detached", "no_grad"])
def test_a_backbone_that_its_features_lead_no_gradient_to_is_named(cut: Callable[..., Any]) -> None:
    method = SimCLR(Cut(cut), NECK, {"type": "NTXentLoss"})
    with pytest.raises(ConfigError) as caught:
        method.loss(images(8, 8))
    assert str(caught.value) == (
        "model.backbone: Cut must return features with a gradient in training, got some without, from which none of "
        "its parameters can learn; its forward must neither detach them nor compute them under torch.no_grad(), or "
        "requires_grad must be off for its parameters"
    )
    method.eval().loss(images(8, 8))
    with torch.no_grad():
        method.train().loss(images(8, 8))
    method.backbone.requires_grad_(False)
    method.loss(images(8, 8))["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.neck.parameters())


def test_a_backbone_may_be_frozen_in_part_or_whole() -> None:
    method = SimCLR(TinyBackbone(), NECK, {"type": "NTXentLoss"})
    for frozen in (method.backbone.conv, method.backbone.bn):
        frozen.requires_grad_(False)
        method.loss(images(8, 8))["loss"].backward()


def test_a_neck_that_its_embeddings_lead_no_gradient_to_is_named() -> None:
    neck = Liar(gives=lambda x: x[:, :4].detach())
    neck.unused = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"^model\.neck: Liar must return features with a gradient in training"):
        SimCLR(TinyBackbone(), neck, {"type": "NTXentLoss"}).loss(images(8, 8))


def test_a_neck_that_does_not_say_its_width_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"neck: Linear has no 'out_dim' \(int\), the number of features it"):
        SimCLR(TinyBackbone(), nn.Linear(8, 4), {"type": "NTXentLoss"})


def test_a_loss_that_gives_a_number_for_every_image_is_named() -> None:
    method = SimCLR(TinyBackbone(), NECK, Unreduced())
    with pytest.raises(ConfigError) as caught:
        method.loss(images(8, 8))
    assert str(caught.value) == (
        "model.loss: Unreduced must return one number, a tensor of shape (), got (4,); "
        "most losses end in a mean over the batch"
    )


@pytest.mark.parametrize(
    "parts, got",
    [
        (torch.zeros(()), ", got ()"),
        (None, ", got NoneType"),
        ({"loss": torch.zeros(2)}, ", got (2,) as 'loss'"),
        ({"loss": torch.zeros(()), "share": 0.5}, ", got float as 'share'"),
        ({"agreement": torch.zeros(())}, ", one under a name that begins with 'loss', got ['agreement']"),
        ({}, ", one under a name that begins with 'loss', got []"),
    ],
)
def test_what_a_method_returns_is_looked_at(parts: Any, got: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_parts(Method(TinyBackbone()), parts)
    assert str(caught.value) == f"model: Method.loss must return a dict of 0-dim tensors{got}"
    check_parts(Method(TinyBackbone()), {"loss_a": torch.zeros(()), "share": torch.ones(())})
