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


class Sizeless(Neck):
    def __init__(self) -> None:
        super().__init__()
        del self.in_dim


class HalfDetached(Neck):
    def forward(self, features: Tensor) -> Tensor:
        first, last = super().forward(features).chunk(2, dim=1)
        return torch.cat([first.detach(), last], dim=1)


class ChangesOnce(Neck):
    """Limits its weight when it is first evaluated; later there is nothing left to do."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            with torch.no_grad():
                self.weight.clamp_(-0.1, 0.1)
        return super().forward(features)


NECKS = [
    Broken(partial(SimpleNamespace, in_dim=5, out_dim=4), "must be a torch.nn.Module"),
    Broken(Sizeless, "in_dim must be an int > 0"),
    Broken(neck(lambda self, x: Neck.forward(self, x.detach())), "a gradient must reach its input, or no backbone"),
    Broken(neck(lambda self, x: Neck.forward(self, (10 * x).round())), "a gradient must reach its input, or no"),
    Broken(neck(lambda self, x: Neck.forward(self, x).T), "must have shape (3, 4), got (4, 3)", options={"batch": 3}),
    Broken(HalfDetached, "a gradient must reach its input from all of the embeddings"),
    Broken(ChangesOnce, "must not change its state in eval mode"),
]


def loss(forward: Any) -> type:
    return changed(Distance, forward=forward)


class Normalizes(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            a /= a.norm(dim=1, keepdim=True)
        return (a * b).sum()


class Counts(Distance):
    """Gives something else each time, of which no state dict knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(a, b) * self.calls


class CenterOutside(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.center = torch.zeros(3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.training:
            self.center = 0.9 * self.center + 0.1 * b.detach().float().mean(dim=0)
        return super().forward(a - self.center, b)


class GrowsInEval(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls.add_(1)
        return super().forward(a, b)


class Idle(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


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
    _loss(loss(lambda self, a, b: float(_of(self, a, b).detach())), "must be a tensor, got float"),
    _loss(loss(lambda self, a, b: (a - b).square().sum(dim=1)), "must be one number, a tensor of shape (), got (4,)"),
    _loss(loss(lambda self, a, b: _of(self, a, b).long()), "must be float32 or better, got torch.int64"),
    _loss(loss(lambda self, a, b: _of(self, a, b) / 0), "must be finite, got inf"),
    _loss(Normalizes, "must not write to its inputs"),
    _loss(Counts, "must give the same twice in eval mode"),
    _loss(GrowsInEval, "must not change its state in eval mode"),
    _loss(CenterOutside, "must be parameters or buffers"),
    _loss(Idle, "a gradient must reach every trainable parameter"),
    _loss(loss(lambda self, a, b: _of(self, a, b).detach()), "got a loss without gradient"),
    _loss(loss(_teacher), "a gradient must reach input 1 for the example inputs"),
    _loss(loss(_teacher), "no gradient may reach input 0", constant=(0, 1)),
    _loss(loss(lambda self, a, b: _teacher(self, a, b) + 0 * b.sum()), "nothing is learned from input 1"),
    _loss(
        loss(lambda self, a, b: (a[0] - b[0]).square().sum() + (a - b).square().mean()),
        "must not depend on the order of the samples",
    ),
    _loss(Float32Only, "must take bfloat16 inputs under autocast: TypeError: float32 only"),
    _loss(loss(lambda self, a, b: (a @ b.T).mean()), "must be float32 or better, got torch.bfloat16"),
    _loss(
        loss(lambda self, a, b: _of(self, a, b) * (1.5 if torch.is_autocast_enabled("cpu") else 1.0)),
        "must be computed in float32 under autocast",
    ),
    _loss(loss(lambda self, a, b: _of(self, a.view(4, 3), b)), "must take a batch of 1; .* smallest_batch=2"),
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
