"""How large the views are that a pipeline makes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from selfsup.errors import SelfsupError


def view_sides(views: Callable[..., Any]) -> list[int] | None:
    """The side in pixels of each view that a pipeline makes of a gray square; None if only its own images can tell."""
    try:
        return _sides(views)
    except (SelfsupError, ValueError, IndexError, TypeError):
        return None


def view_side(views: Callable[..., Any]) -> int:
    """The side in pixels of the largest view: what a backbone that is trained on them is used to."""
    return max(_sides(views))


def _sides(views: Callable[..., Any]) -> list[int]:
    gray = np.full((64, 64, 3), 127, np.uint8)
    return [np.shape(view)[0] for view in views(gray, np.random.default_rng(0))]
