"""Pictures to transform, and the statistics by which two sets of pictures are compared."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

PHOTOS = ("Dragonfly_by_Bolly.jpg", "Wine_by_Jakkub_Mede.jpg", "Painting-Colors_by__herobrine7gamer.jpg")


@cache
def _photo(name: str) -> np.ndarray:
    encoded = np.frombuffer((files("selfsup.data") / "photos" / name).read_bytes(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def picture(height: int, width: int, number: int = 0) -> np.ndarray:
    """A photograph shrunk to (height, width, 3), a fresh copy."""
    return cv2.resize(_photo(PHOTOS[number]), (width, height), interpolation=cv2.INTER_AREA)


def statistics_of(views: np.ndarray) -> np.ndarray:
    """What a network sees first: mean and spread per channel, colorfulness, sharpness, quantiles, clipped share.

    Args:
        views: uint8 (N, H, W, 3).

    Returns:
        (N, 17), each in gray levels.
    """
    gray = views.sum(axis=3, dtype=np.int16)
    ranked = np.sort(gray.reshape(len(views), -1), axis=1) / 3
    quantiles = ranked[:, (np.array((0.02, 0.25, 0.5, 0.75, 0.98)) * (ranked.shape[1] - 1)).astype(int)]
    columns = [
        views.mean(axis=(1, 2)),
        views.std(axis=(1, 2), dtype=np.float32),
        (views.max(axis=3) - views.min(axis=3)).mean(axis=(1, 2)),
        np.abs(np.diff(gray, axis=1)).mean(axis=(1, 2)) / 3,
        np.abs(np.diff(gray, axis=2)).mean(axis=(1, 2)) / 3,
        np.abs(np.diff(gray, n=2, axis=2)).mean(axis=(1, 2)) / 3,
        quantiles,
        (views == 0).mean(axis=(1, 2, 3)) * 255,
        (views == 255).mean(axis=(1, 2, 3)) * 255,
    ]
    return np.column_stack(columns)


def sample(draw: Callable[[], np.ndarray], draws: int) -> np.ndarray:
    """Statistics of so many results of ``draw()``: (draws, 17)."""
    return statistics_of(np.stack([draw() for _ in range(draws)]))


def assert_same_distribution(
    actual: np.ndarray, expected: np.ndarray, *, level: float = 0.5, spread: float = 0.02
) -> None:
    """Compare the means and the standard deviations of every statistic, allowing for the sampling error.

    Five standard errors are allowed, estimated from the samples (that of a standard deviation from the fourth
    moment), and a bias that 8-bit arithmetic may leave: ``level`` gray levels in a mean, ``spread`` in the ratio of
    the standard deviations.
    """
    assert actual.shape[1] == expected.shape[1]
    error = np.sqrt(actual.var(axis=0) / len(actual) + expected.var(axis=0) / len(expected))
    mean_gap = np.abs(actual.mean(axis=0) - expected.mean(axis=0))
    assert (mean_gap <= 5 * error + level).all(), f"means differ by {mean_gap}, allowed {5 * error + level}"
    spread_gap = np.abs(np.log(actual.std(axis=0) + level) - np.log(expected.std(axis=0) + level))
    allowed = 5 * np.sqrt(_log_std_error(actual) ** 2 + _log_std_error(expected) ** 2) + spread
    assert (spread_gap <= allowed).all(), f"log standard deviations differ by {spread_gap}, allowed {allowed}"


def _log_std_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the logarithm of the standard deviation of each column."""
    centered = values - values.mean(axis=0)
    variance = np.maximum((centered**2).mean(axis=0), 1e-12)
    kurtosis = (centered**4).mean(axis=0) / variance**2
    return np.sqrt(np.maximum(kurtosis - 1, 0.0) / len(values)) / 2
