"""The contract of evaluators."""

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.testing.modules import state_of
from selfsup.testing.promise import (
    fits_any,
    global_random_state,
    listed,
    own_random_numbers,
    promise,
    promised,
    same_values,
)


class SmallBackbone(nn.Module):
    """A convolution, batch norm and dropout: whatever an evaluator could leave behind shows in it."""

    def __init__(self, out_dim: int = 16) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, out_dim, 4, stride=4)
        self.bn = nn.BatchNorm2d(out_dim)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, out_dim)."""
        return self.dropout(self.bn(self.conv(images)).relu().mean((2, 3)))


def check_evaluator(
    evaluator: Any, backbone: nn.Module | None = None, *, unbounded: Collection[str] = (), seed: int = 0
) -> None:
    """Check what a run asks of an evaluator.

    ``evaluate(backbone)`` returns finite scores by name, fractions unless named as ``unbounded``, and the same ones
    when asked again; the backbone is judged as it would be used, in eval mode, whatever mode it is in; its weights,
    statistics and training flags, the random states, and whether gradients are recorded are as before.

    Args:
        evaluator: built, with images of its own.
        backbone: what is judged; None for a small untrained one.
        unbounded: shell patterns for scores that are no fractions.
        seed: of the untrained backbone.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    with own_random_numbers(seed):
        judged = SmallBackbone() if backbone is None else copy.deepcopy(backbone)
        judged.train()
        next(iter(judged.children()), judged).eval()  # mixed flags, as frozen stages have them
        flags = {name: part.training for name, part in judged.named_modules()}
        state = state_of(judged)
        random_state = global_random_state()
        with promised(evaluator, "evaluate(backbone) must not raise"):
            scores = evaluator.evaluate(judged)
        _check_scores(evaluator, scores, unbounded)
        moved = [name or "the backbone itself" for name, part in judged.named_modules() if part.training != flags[name]]
        promise(not moved, evaluator, f"must leave the training flags as they were, but not of {listed(moved)}")
        promise(same_values(state_of(judged), state), evaluator, "must not change the backbone's weights or statistics")
        promise(global_random_state() == random_state, evaluator, "must not draw from a global random generator")
        promise(torch.is_grad_enabled(), evaluator, "must leave the recording of gradients switched on")
        asked = [name for name, parameter in judged.named_parameters() if parameter.grad is not None]
        promise(not asked, evaluator, f"must leave no gradients behind, but does in {listed(asked)}")
        promise(
            _same_scores(evaluator.evaluate(judged.eval()), scores),
            evaluator,
            "must give the same scores again, and for a backbone in eval mode",
        )


def _check_scores(evaluator: Any, scores: Any, unbounded: Collection[str]) -> None:
    promise(isinstance(scores, dict), evaluator, f"evaluate must return a dict, got {type(scores).__name__}")
    promise(bool(scores), evaluator, "evaluate must return at least one score")
    for name, value in scores.items():
        promise(isinstance(name, str), evaluator, f"names of scores must be text, got {name!r}")
        promise(
            isinstance(value, float),
            evaluator,
            f"score {name!r} must be a float, got {type(value).__name__}: {value!r}",
        )
        promise(bool(np.isfinite(value)), evaluator, f"score {name!r} must be finite, got {value}")
        if not fits_any(name, unbounded):
            promise(
                0 <= value <= 1, evaluator, f"score {name!r} must be a fraction in [0, 1], got {value}; or be unbounded"
            )


def _same_scores(a: dict[str, float], b: dict[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[name] - b[name]) <= 1e-6 * max(1.0, abs(b[name])) for name in a)
