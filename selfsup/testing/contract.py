"""How a broken rule is told, and what the checks share."""

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.ops.random_state import isolated_random_state


class BrokenContract(AssertionError):
    """What a kit raises: one sentence, beginning with the component's class."""


def require(kept: bool, component: object, sentence: str) -> None:
    """Raise BrokenContract unless a rule is kept.

    Args:
        kept: whether it is.
        component: whose class is named.
        sentence: the rule and what was found instead.
    """
    if not kept:
        raise BrokenContract(f"{type(component).__name__}: {sentence}")


@contextmanager
def must(component: object, sentence: str) -> Iterator[None]:
    """Raise BrokenContract, with the sentence and what was raised, if anything is raised inside."""
    try:
        yield
    except BrokenContract:
        raise
    except Exception as error:
        raise BrokenContract(f"{type(component).__name__}: {sentence}: {type(error).__name__}: {error}") from error


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """What is drawn inside depends on the seed alone, and the caller's random state is as before afterwards."""
    with isolated_random_state(torch.device("cpu"), seed=seed):
        yield


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def global_random_state() -> dict[str, Any]:
    """The states of the global generators, comparable by ``==``."""
    kind, keys, *rest = np.random.get_state()
    return {
        "Python's": random.getstate(),
        "NumPy's": (kind, np.asarray(keys).tobytes(), rest),
        "PyTorch's": torch.random.get_rng_state().numpy().tobytes(),
    }


def close(a: Tensor, b: Tensor, tolerance: float, *, least: float = 1e-12) -> bool:
    """Whether two tensors differ by at most ``tolerance`` of the greatest value, or of ``least`` if that is more."""
    if a.shape != b.shape:
        return False
    scale = max(float(b.detach().abs().max()) if b.numel() else 0.0, least)
    return bool(((a.detach().double() - b.detach().double()).abs() <= tolerance * scale).all())


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
    """Whether two structures of dicts, lists, arrays and tensors hold the same, of one dtype; NaN equals NaN."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same_kind = a.dtype == b.dtype and a.shape == b.shape
        return same_kind and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_values(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same_values, a, b))
    return bool(a == b)
