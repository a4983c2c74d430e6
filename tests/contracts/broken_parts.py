"""Necks and losses that each break one promise."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.contracts.examples import rows
from tests.contracts.rejection import Broken
from tests.contracts.sound import Distance, Neck


class Sizeless(Neck):
    def __init__(self) -> None:
        super().__init__()
        del self.in_dim


class Detached(Neck):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.detach())


class Rounded(Neck):
    """Has a gradient, which is zero."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward((10 * features).round())


class Transposed(Neck):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).T


class Ignores(Neck):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features * 0)


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
    Broken(Sizeless, "in_dim must be an int > 0, known before the first forward pass, got None"),
    Broken(Detached, "a gradient must reach its input, or no backbone learns behind it"),
    Broken(Rounded, "a gradient must reach its input, or no backbone learns behind it"),
    Broken(
        Transposed,
        "the embeddings in training mode must have shape (3, 4), got (4, 3)",
        options={"batch": 3},
    ),
    Broken(
        HalfDetached,
        "a gradient must reach its input from all of the embeddings, but none does from the first half of their "
        "dimensions",
    ),
    Broken(ChangesOnce, "must leave its state alone in eval mode, or an evaluation would change the training"),
    Broken(Ignores, "the embeddings of different inputs must differ in eval mode, but they are the same"),
]


class OneArgument(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a.mean()


class Number(Distance):
    def forward(self, a: Tensor, b: Tensor) -> float:  # type: ignore[override]
        return float(super().forward(a, b).detach())


class PerSample(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum(dim=1)


class Whole(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b).long()


class Infinite(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b) / 0


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


class CountsInTraining(Counts):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls += self.training
        return Distance.forward(self, a, b) * (1 + self.calls)


class GrowsInEval(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls.add_(1)
        return super().forward(a, b)


class CenterOutside(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.center = torch.zeros(3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.training:
            self.center = 0.9 * self.center + 0.1 * b.detach().float().mean(dim=0)
        return super().forward(a - self.center, b)


class Idle(Distance):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


class NoGraph(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b).detach()


class Forgets(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b.detach()).square().mean()


class Half(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b.detach()).float().square().mean() + 0 * b.sum()


class Roots(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a.float().var(dim=0).sqrt().mean() + b.float().square().mean()


class Zero(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b) * 0


class FirstMatters(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a[0] - b[0]).square().sum() + (a - b).square().mean()


class Float32Only(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if a.dtype != torch.float32:
            raise TypeError("float32 only")
        return super().forward(a, b)


class HalfPrecision(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T).mean()


class Autocast(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b) * (1.5 if torch.is_autocast_enabled("cpu") else 1.0)


class FourOnly(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a.view(4, 3), b)


class SeveralOnly(Distance):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b) * (1.0 if len(a) > 1 else float("nan"))


_PAIR: tuple[Any, ...] = (rows(4, 3, 0), rows(4, 3, 1))


def _loss(make: Any, sentence: str, **options: Any) -> Broken:
    return Broken(make, sentence, inputs=_PAIR, options=options)


LOSSES = [
    _loss(lambda: nn.functional.mse_loss, "must be a torch.nn.Module"),
    _loss(OneArgument, "must take the example inputs: TypeError: "),
    _loss(Number, "the loss must be a tensor, got float"),
    _loss(PerSample, "the loss must be one number, a tensor of shape (), got (4,)"),
    _loss(Whole, "the loss must be float32 or better, got torch.int64"),
    _loss(Infinite, "the loss must be finite, got inf"),
    _loss(Normalizes, "must not write to its inputs"),
    _loss(Counts, "must give the same for the same inputs in eval mode"),
    _loss(
        CountsInTraining,
        "must give the same output once its state dict is loaded into another of its kind, but not in eval mode",
    ),
    _loss(GrowsInEval, "must leave its state alone in eval mode"),
    _loss(CenterOutside, "tensors must be parameters or buffers, and layers submodules, or they are neither saved "),
    _loss(Idle, "a gradient must reach every trainable parameter in training, or several processes wait for each "),
    _loss(NoGraph, "a gradient must reach its inputs for the example inputs, got a loss without gradient"),
    _loss(Forgets, "a gradient must reach input 1 for the example inputs"),
    _loss(Forgets, "no gradient may reach input 0, which is constant, but one does", constant=(0, 1)),
    _loss(Half, "nothing is learnt from input 1 for the example inputs: its gradient is zero"),
    _loss(Zero, "nothing is learnt from input 0 for the example inputs: its gradient is zero"),
    _loss(FirstMatters, "must not depend on the order of the samples, but differs by "),
    _loss(Float32Only, "must take bfloat16 inputs under autocast: TypeError: float32 only"),
    _loss(HalfPrecision, "the loss of bfloat16 inputs under autocast must be float32 or better, got torch.bfloat16"),
    _loss(Autocast, "must be computed in float32 under autocast: "),
    _loss(FourOnly, "must take a batch of 1; if it needs more, say smallest_batch=2: RuntimeError: "),
    _loss(FourOnly, "must take a batch of 3; if it needs more, say smallest_batch=4: ", smallest_batch=3),
    _loss(SeveralOnly, "the loss for a batch of 1 must be finite, got nan"),
    _loss(Roots, "the gradient of input 0 must be finite for embeddings that are all the same", smallest_batch=2),
]
