"""How a broken promise is told, and comparisons that the checks share."""

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.ops.random_state import isolated_random_state


class BrokenPromise(AssertionError):
    """What a kit raises: one sentence, beginning with the component's class."""


def promise(kept: bool, component: object, sentence: str) -> None:
    """Go on if a promise is kept.

    Args:
        kept: whether it is.
        component: who made it.
        sentence: the promise and what was found instead.

    Raises:
        BrokenPromise: if it is not, naming the component's class.
    """
    if not kept:
        raise BrokenPromise(f"{type(component).__name__}: {sentence}")


@contextmanager
def promised(component: object, sentence: str) -> Iterator[None]:
    """What happens inside must not raise.

    Raises:
        BrokenPromise: if it does, with the sentence and what was raised.
    """
    try:
        yield
    except BrokenPromise:
        raise
    except Exception as error:  # whatever a stranger's component raises is told with the promise it breaks
        raise BrokenPromise(f"{type(component).__name__}: {sentence}: {type(error).__name__}: {error}") from error


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """What is drawn inside depends on the seed alone, and whoever called draws on as if nothing had been drawn."""
    with isolated_random_state(torch.device("cpu"), seed=seed):
        yield


def seed_everything(seed: int) -> None:
    """Seed the generators that everybody shares."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def global_random_state() -> dict[str, Any]:
    """The states of the generators that everybody shares, comparable by ``==``."""
    kind, keys, *rest = np.random.get_state()
    return {
        "Python's": random.getstate(),
        "NumPy's": (kind, np.asarray(keys).tobytes(), rest),
        "PyTorch's": torch.random.get_rng_state().numpy().tobytes(),
    }


def seeded_by(run: Callable[[], Any]) -> list[str]:
    """The generators that everybody shares which ``run`` leaves in the same state, whatever it was before."""
    after = []
    for seed in (1, 2):
        seed_everything(seed)
        run()
        after.append(global_random_state())
    return [name for name, state in after[0].items() if state == after[1][name]]


def close(a: Tensor, b: Tensor, tolerance: float, *, least: float = 1e-12) -> bool:
    """Whether two tensors differ by at most ``tolerance`` of the greatest value, or of ``least`` if that is more."""
    if a.shape != b.shape:
        return False
    a, b = a.detach().double(), b.detach().double()
    scale = max(float(b.abs().max()) if b.numel() else 0.0, least)
    return bool(((a - b).abs() <= tolerance * scale).all())


def greatest_difference(a: Tensor, b: Tensor) -> str:
    """For a sentence: how far two tensors of one shape are apart."""
    return f"{float((a.detach().double() - b.detach().double()).abs().max()):.3g}"


def listed(names: Collection[str], show: int = 4) -> str:
    """For a sentence: the first few of some names."""
    return ", ".join(list(names)[:show]) + (f" and {len(names) - show} more" if len(names) > show else "")


def fits_any(name: str, patterns: Collection[str]) -> bool:
    """Whether a name fits one of several shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def same_values(a: Any, b: Any) -> bool:
    """Whether two structures of dicts, lists and tensors hold the same, of one dtype; NaN is equal to itself."""
    if isinstance(a, Tensor):
        same_kind = isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return same_kind and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same_values(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return (
            isinstance(b, (list, tuple))
            and len(a) == len(b)
            and all(same_values(x, y) for x, y in zip(a, b, strict=True))
        )
    return bool(a == b)
