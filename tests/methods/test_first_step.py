"""Parts that do not give what they said are named, where the next part would stumble or learn from it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods import Method, MoCo, SimCLR, SimSiam
from selfsup.methods.first_step import check_losses, checked_parts
from tests.methods.tiny import TinyBackbone, images

NECK = {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 4}


class Liar(nn.Module):
    """Says one width and gives another."""

    def __init__(self, in_dim: int = 8, out_dim: int = 4, gives: Callable[[Tensor], Any] = lambda x: x[:, :3]) -> None:
        super().__init__()
        self.in_dim, self.out_dim, self.gives = in_dim, out_dim, gives

    def forward(self, features: Tensor) -> Any:
        return self.gives(features)


def rejection(method: Method) -> str:
    with pytest.raises(ConfigError) as caught, checked_parts(method):
        method.loss(images(8, 8))
    return str(caught.value)


@pytest.mark.parametrize(
    "gives, got",
    [
        (lambda x: x[:, :3], "(4, 3)"),
        (lambda x: x[:2, :4], "(2, 4)"),
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
        assert rejection(method) == f"model.neck: Liar must return (B, out_dim) = ({batch}, 4), got {got}"


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
    assert rejection(method).startswith(
        "model.backbone: Cut must return features with a gradient in training, got some"
    )
    method.backbone.requires_grad_(False)
    with checked_parts(method):
        method.loss(images(8, 8))["loss"].backward()
    assert not any(part._forward_hooks for part in method.modules())
    assert all(parameter.grad is not None for parameter in method.neck.parameters())


def test_a_neck_that_does_not_say_its_width_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"neck: Linear has no 'out_dim' \(int\), the number of features it"):
        SimCLR(TinyBackbone(), nn.Linear(8, 4), {"type": "NTXentLoss"})


@pytest.mark.parametrize(
    "parts, got",
    [
        (torch.zeros(()), ", got ()"),
        (None, ", got NoneType"),
        ({"loss": torch.zeros(2)}, ", got (2,) as 'loss'"),
        ({"loss": torch.zeros(()), "share": 0.5}, ", got float as 'share'"),
        ({"agreement": torch.zeros(())}, ", one under a name that begins with 'loss', got ['agreement']"),
    ],
)
def test_losses_that_cannot_be_trained_with_are_rejected(parts: Any, got: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_losses(Method(TinyBackbone()), parts)
    assert str(caught.value) == f"model: Method.loss must return a dict of 0-dim tensors{got}"


def test_one_of_the_losses_must_have_a_gradient() -> None:
    learned, share = torch.zeros((), requires_grad=True), torch.ones(())
    check_losses(Method(TinyBackbone()), {"loss_a": learned, "loss_b": share, "share": share})
    with pytest.raises(ConfigError, match="must return a loss with a gradient, got loss_b without"):
        check_losses(Method(TinyBackbone()), {"loss_b": share})
