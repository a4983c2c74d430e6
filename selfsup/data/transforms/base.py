"""What every transform is, and the checks their arguments share."""

from typing import Any, Protocol

import numpy as np

from selfsup.errors import ConfigError, did_you_mean


class Transform(Protocol):
    """A callable that changes one image; it is immutable and keeps nothing between calls.

    The image is uint8 (H, W, 3) in RGB, or (H, W, 4) with alpha where the transform says so. It is never written to.
    All randomness comes from ``rng``, so the same generator state gives the same result in every process.
    """

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image, uint8; the image itself where nothing is to be done."""
        ...


def check_probability(transform: object, p: float) -> None:
    """Reject a ``p`` outside [0, 1].

    Raises:
        ConfigError: if it is.
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"{type(transform).__name__}.p: must be in [0, 1], got {p}")


def check_range(transform: object, name: str, limits: tuple[float, float], *, lowest: float = 0.0) -> None:
    """Reject limits that are not two rising numbers above ``lowest``.

    Raises:
        ConfigError: if they are not.
    """
    if len(limits) != 2 or not lowest < limits[0] <= limits[1]:
        raise ConfigError(
            f"{type(transform).__name__}.{name}: must be (low, high) with {lowest:g} < low <= high, got {limits}"
        )


def check_choice(transform: object, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Reject a word that is not among the choices.

    Raises:
        ConfigError: if it is not.
    """
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ConfigError(
            f"{type(transform).__name__}.{name}: must be one of {', '.join(choices)}, got {value!r}{hint}"
        )


def check_positive(transform: object, name: str, value: float) -> None:
    """Reject a number that is not above 0.

    Raises:
        ConfigError: if it is not.
    """
    if value <= 0:
        raise ConfigError(f"{type(transform).__name__}.{name}: must be > 0, got {value}")
