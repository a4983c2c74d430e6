"""What every transform is, and the checks their arguments share."""

from typing import Any, Protocol

import numpy as np

from selfsup.errors import ConfigError, nearest, require


class Transform(Protocol):
    """A callable that changes one image; it is immutable and keeps nothing between calls.

    The image is uint8 (H, W, 3) in RGB, or (H, W, 4) with alpha where the transform says so. It is never written to.
    All randomness comes from ``rng``, so the same generator state gives the same result in every process.
    """

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image, uint8; the image itself where nothing is to be done."""
        ...


def check_probability(p: float) -> None:
    """Reject a probability outside [0, 1]."""
    require(0 <= p <= 1, "p", "must be in [0, 1]", got=p)


def check_range(name: str, limits: tuple[float, float], *, lowest: float = 0.0) -> None:
    """Reject limits that are not two rising numbers above ``lowest``."""
    fits = len(limits) == 2 and lowest < limits[0] <= limits[1]
    require(fits, name, f"must be (low, high) with {lowest:g} < low <= high", got=limits)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Reject a word that is not among the choices."""
    if value not in choices:
        right = nearest(str(value), choices)
        raise ConfigError.at(name, f"must be one of {', '.join(choices)}", got=value, expected=right)


def check_positive(name: str, value: float) -> None:
    """Reject a number that is not above 0."""
    require(value > 0, name, "must be > 0", got=value)
