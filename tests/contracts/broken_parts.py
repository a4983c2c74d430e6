"""Necks and losses that each break one rule."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.contracts.examples import rows
from tests.contracts.rejection import Broken, changed
from tests.contracts.sound import Distance, Neck


def neck(forward: Any) -> type:
    return changed(Neck, forward=forward)


NECKS = [
    Broken(partial(SimpleNamespace, in_dim=5, out_dim=4), "must be a torch.nn.Module"),
    Broken(neck(lambda self, x: Neck.forward(self, (10 * x).round())), "a gradient must reach its input, or no"),
]


def loss(forward: Any) -> type:
    return changed(Distance, forward=forward)


class Counts(Distance):
    """Gives something else each time, of which no state dict knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(a, b) * self.calls


class GrowsInEval(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls.add_(1)
        return super().forward(a, b)


class Float32Only(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if a.dtype != torch.float32:
            raise TypeError("float32 only")
        return super().forward(a, b)


def _teacher(self: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    return (a - b.detach()).float().square().mean()


_PAIR: tuple[Any, ...] = (rows(4, 3, 0), rows(4, 3, 1))


def _loss(make: Any, sentence: str, **options: Any) -> Broken:
    return Broken(make, sentence, inputs=_PAIR, options=options)


_of = Distance.forward

LOSSES = [
    _loss(lambda: nn.functional.mse_loss, "must be a torch.nn.Module"),
    _loss(loss(lambda self, a: a.mean()), "must take its inputs in training mode: TypeError"),
    _loss(loss(lambda self, a, b: float(_of(self, a, b).detach())), "float32 or better, got float"),
    _loss(
        loss(lambda self, a, b: (a - b).square().sum(dim=1)), "must be a tensor of shape (), .* got torch.float32 (4,)"
    ),
    _loss(loss(lambda self, a, b: _of(self, a, b).long()), "float32 or better, got torch.int64"),
    _loss(loss(lambda self, a, b: _of(self, a, b) / 0), "must be finite, got inf"),
    _loss(Counts, "must give the same twice in eval mode"),
    _loss(GrowsInEval, "must not change its state in eval mode"),
    _loss(loss(lambda self, a, b: _of(self, a, b).detach()), "got a loss without gradient"),
    _loss(loss(_teacher), "a gradient must reach input 1 for the example inputs"),
    _loss(loss(_teacher), "no gradient may reach input 0", constant=(0, 1)),
    _loss(loss(lambda self, a, b: _teacher(self, a, b) + 0 * b.sum()), "nothing is learned from input 1"),
    _loss(
        loss(lambda self, a, b: (a[0] - b[0]).square().sum() + (a - b).square().mean()),
        "must not depend on the order of the samples",
    ),
    _loss(Float32Only, "must take bfloat16 inputs under autocast: TypeError: float32 only"),
    _loss(loss(lambda self, a, b: (a @ b.T).mean()), "float32 or better, got torch.bfloat16"),
    _loss(
        loss(lambda self, a, b: _of(self, a, b) * (1.5 if torch.is_autocast_enabled("cpu") else 1.0)),
        "must be computed in float32 under autocast",
    ),
    _loss(loss(lambda self, a, b: _of(self, a.view(4, 3), b)), "must take a batch of 1; .* smallest_batch"),
    _loss(
        loss(lambda self, a, b: _of(self, a, b) * (1.0 if len(a) > 1 else float("nan"))),
        "the loss for a batch of 1 must be finite, got nan",
    ),
    _loss(
        loss(lambda self, a, b: a.float().var(dim=0).sqrt().mean() + b.float().square().mean()),
        "the gradient of input 0 must be finite for embeddings that are all the same",
        smallest_batch=2,
    ),
]
