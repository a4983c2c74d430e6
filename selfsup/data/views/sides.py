"""How large the views are that a pipeline makes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from selfsup.errors import SelfsupError


def view_sides(pipeline: Callable[..., Any]) -> list[int] | None:
    """The side in pixels of each view that a pipeline makes of a blank image; None if only its data set can tell."""
    try:
        return [np.shape(view)[0] for view in pipeline(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0))]
    except (SelfsupError, ValueError, IndexError, TypeError):  # wants what only its data set gives, or gives no images
        return None


def view_side(views: Any) -> int:
    """Side in pixels of the largest view a pipeline draws: what a backbone trained on it is used to.

    Args:
        views: a view pipeline; it is shown a gray square, so that no data are read.
    """
    gray = np.full((64, 64, 3), 127, np.uint8)
    return views(gray, np.random.default_rng(0))[0].shape[0]
