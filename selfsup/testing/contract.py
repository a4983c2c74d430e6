"""How a broken rule is reported, and what the checks share."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.ops.random_state import isolated_random_state, random_state

CPU = torch.device("cpu")
own_random_numbers = partial(isolated_random_state, CPU)
"""What is drawn inside depends on ``seed`` alone, and the caller's random state is as before afterwards."""
global_random_state = partial(random_state, CPU)


class BrokenContract(AssertionError):
    """What a kit raises: one sentence, beginning with the component's class."""


def require(kept: bool, component: object, sentence: str) -> None:
    """Raise BrokenContract, with the component's class and the sentence, unless a rule is kept."""
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


def require_close(
    found: Tensor, expected: Tensor, component: object, sentence: str, *, tolerance: float, least: float = 1e-12
) -> None:
    """Require that tensors differ by at most ``tolerance`` of the greatest value, or of ``least`` if that is more."""
    require(found.shape == expected.shape, component, f"{sentence}, but has another shape: {tuple(found.shape)}")
    found, expected = found.detach().double(), expected.detach().double()
    difference, scale = float((found - expected).abs().max()), max(float(expected.abs().max()), least)
    right = difference <= tolerance * scale
    require(right, component, f"{sentence}, but differs by {difference:.3g} where values reach {scale:.3g}")


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
