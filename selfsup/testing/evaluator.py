"""The contract of evaluators."""

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.testing.contract import (
    fits_any,
    global_random_state,
    listed,
    must,
    own_random_numbers,
    require,
    same_values,
)
from selfsup.testing.modules import state_of

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
SWITCHES: dict[str, Callable[[Any], Any]] = {
    "is_grad_enabled": torch.set_grad_enabled,
    "get_default_dtype": torch.set_default_dtype,
    "get_num_threads": torch.set_num_threads,
    "get_deterministic_debug_mode": torch.set_deterministic_debug_mode,
    "get_float32_matmul_precision": torch.set_float32_matmul_precision,
}
"""What of PyTorch holds for everybody: the function that says it, and the one that sets it."""
OTHERS = 5
"""Backbones that are evaluated until one has other scores: few images make few different fractions."""


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

    ``evaluate(backbone)`` returns finite scores by name, fractions unless named as ``unbounded``, the same ones however
    often it is asked, and others for some other backbone; the backbone is evaluated as it would be used, in eval mode,
    whatever mode it is in; its weights, statistics, training flags, hooks, and what of it is trained, the random
    states, and PyTorch's global switches (gradients, default dtype, threads, deterministic algorithms) are as before.

    Args:
        evaluator: built, with images of its own; it is used itself, not a copy.
        backbone: what is evaluated; None for a small untrained one.
        unbounded: shell patterns for scores that are no fractions.
        seed: of the untrained backbone.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(callable(getattr(evaluator, "evaluate", None)), evaluator, "must have evaluate(backbone)")
    with own_random_numbers(seed), _own_switches():
        evaluated = SmallBackbone() if backbone is None else copy.deepcopy(backbone)
        evaluated.train()
        next(iter(evaluated.children()), evaluated).eval()  # mixed flags, as frozen stages have them
        next(evaluated.parameters()).requires_grad_(False)
        before, state = _settings(evaluated), state_of(evaluated)
        random_state, switches = global_random_state(), _switches()
        with must(evaluator, "evaluate(backbone) must not raise"):
            scores = evaluator.evaluate(evaluated)
        _check_scores(evaluator, scores, unbounded)
        flags, trained, hooks = (
            [name for name in old if new[name] != old[name]]
            for old, new in zip(before, _settings(evaluated), strict=True)
        )
        require(not flags, evaluator, f"must leave the training flags as they were, but not of {listed(flags)}")
        require(not trained, evaluator, f"must leave requires_grad as it was, but not of {listed(trained)}")
        require(not hooks, evaluator, f"must leave no hooks behind, but does on {listed(hooks)}")
        require(
            same_values(state_of(evaluated), state), evaluator, "must not change the backbone's weights or statistics"
        )
        require(global_random_state() == random_state, evaluator, "must not draw from a global random generator")
        for name, now in _switches().items():
            require(
                now == switches[name],
                evaluator,
                f"must leave PyTorch's switches as they were, but torch.{name}() is {now} instead of {switches[name]}",
            )
        asked = [name for name, parameter in evaluated.named_parameters() if parameter.grad is not None]
        require(not asked, evaluator, f"must leave no gradients behind, but does in {listed(asked)}")
        _check_judgement(evaluator, evaluated, scores)


def _check_judgement(evaluator: Any, evaluated: nn.Module, scores: dict[str, float]) -> None:
    for time in ("second", "third"):
        again = evaluator.evaluate(evaluated.eval())
        require(
            _same_scores(again, scores),
            evaluator,
            f"must give the same scores again, and for a backbone in eval mode, but the {time} time they are {again} "
            f"instead of {scores}",
        )
    others = []
    for _ in range(OTHERS):
        other = copy.deepcopy(evaluated)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.copy_(torch.randn_like(parameter))
        others.append(evaluator.evaluate(other))
        if not _same_scores(others[-1], scores):
            return
    require(False, evaluator, f"must look at the backbone, but {OTHERS} others have the same scores: {scores}")


@contextmanager
def _own_switches() -> Iterator[None]:
    """Whatever an evaluator leaves switched is switched back."""
    with torch.enable_grad():
        before = _switches()
        try:
            yield
        finally:
            for name, now in _switches().items():
                if now != before[name]:
                    SWITCHES[name](before[name])


def _switches() -> dict[str, Any]:
    return {name: getattr(torch, name)() for name in SWITCHES}


def _settings(evaluated: nn.Module) -> tuple[dict[str, Any], ...]:
    """Training flags by part, requires_grad by parameter, and the numbers of hooks by part."""
    parts = {name or "the backbone itself": part for name, part in evaluated.named_modules()}
    return (
        {name: part.training for name, part in parts.items()},
        {name: parameter.requires_grad for name, parameter in evaluated.named_parameters()},
        {name: [len(getattr(part, kind)) for kind in HOOKS] for name, part in parts.items()},
    )


def _check_scores(evaluator: Any, scores: Any, unbounded: Collection[str]) -> None:
    require(isinstance(scores, dict), evaluator, f"evaluate must return a dict, got {type(scores).__name__}")
    require(bool(scores), evaluator, "evaluate must return at least one score")
    for name, value in scores.items():
        require(isinstance(name, str), evaluator, f"names of scores must be text, got {name!r}")
        require(
            isinstance(value, float),
            evaluator,
            f"score {name!r} must be a float, got {type(value).__name__}: {value!r}",
        )
        require(bool(np.isfinite(value)), evaluator, f"score {name!r} must be finite, got {value}")
        if not fits_any(name, unbounded):
            require(
                0 <= value <= 1, evaluator, f"score {name!r} must be a fraction in [0, 1], got {value}; or be unbounded"
            )


def _same_scores(a: dict[str, float], b: dict[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[name] - b[name]) <= 1e-6 * max(1.0, abs(b[name])) for name in a)
