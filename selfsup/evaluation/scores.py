"""Numbers with intervals, and what an evaluator finds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

Z = 1.959963984540054
"""Half the width of a 95 % interval in standard deviations of a normal distribution."""

REPLICATES = 1000


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval.

    Args:
        value: the number.
        low: lower end; None where there is no interval.
        high: upper end.
        n: what was drawn: images, or groups of them, draws, seeds.
        spread: over what the interval is.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    spread: Literal["images", "groups", "draws", "seeds"] = "images"

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.4f}, {self.high:.4f}]"
        return f"{self.value:.4f}{interval}"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for each test image, for paired tests and to look at mistakes.

    Args:
        index: positions in the test source, int64 (N,).
        labels: int64 (N,).
        predicted: int64 (N,).
        logits: float (N, C), where the predictor gives them.
        groups: of each image, int64 (N,), or None.
        classes: names in label order, or None.
    """

    index: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray | None = None
    groups: np.ndarray | None = None
    classes: Sequence[str] | None = None

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, bool (N,)."""
        return self.predicted == self.labels

    def top(self, k: int) -> np.ndarray:
        """Whether the label is among the k classes with the greatest logits, bool (N,)."""
        assert self.logits is not None
        own = np.take_along_axis(self.logits, self.labels[:, None].clip(0, self.logits.shape[1] - 1), axis=1)
        return ((self.logits > own).sum(axis=1) < k) & (self.labels < self.logits.shape[1])


@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluator finds.

    Args:
        scores: by name.
        predictions: of the test images, if it predicts.
        chosen: hyper-parameters that were chosen, and how.
        notes: such as 'did not converge', 'edge of the grid'.
    """

    scores: dict[str, Score]
    predictions: Predictions | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion.

    Args:
        right: successes.
        n: trials, > 0.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    share, weight = right / n, Z * Z / n
    center = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, center - half), min(1.0, center + half)


def proportion(right: np.ndarray, groups: np.ndarray | None = None) -> Score:
    """The share of true entries: Wilson's interval, or a bootstrap of whole groups where images belong together.

    Args:
        right: bool (N,).
        groups: int64 (N,), or None.
    """
    value, n = float(right.mean()), len(right)
    units = None if groups is None else np.unique(groups, return_inverse=True)[1]
    if units is None or int(units.max()) + 1 == n:
        return Score(value, *wilson(int(right.sum()), n), n)
    rights, sizes = np.bincount(units, right), np.bincount(units)
    low, high = bootstrap(len(sizes), lambda weights: float(weights @ rights / (weights @ sizes)))
    return Score(value, low, high, len(sizes), "groups")


def mean_per_class(labels: np.ndarray, right: np.ndarray, groups: np.ndarray | None = None) -> Score:
    """The mean over the classes of the share of right predictions; classes without an image do not count.

    Args:
        labels: int64 (N,).
        right: bool (N,).
        groups: int64 (N,), or None; whole groups are drawn for the interval.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(classes.max()) + 1

    def mean(weights: np.ndarray) -> float:
        each = weights[units]
        total = np.bincount(classes, each, count)
        shares = np.bincount(classes, each * right, count)[total > 0] / total[total > 0]
        return float(shares.mean())

    drawn = int(units.max()) + 1
    low, high = bootstrap(drawn, mean)
    return Score(mean(np.ones(drawn)), low, high, drawn, "images" if drawn == len(labels) else "groups")


def bootstrap(
    n: int, statistic: Callable[[np.ndarray], float], *, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic under resampling.

    Args:
        n: units that are drawn with replacement.
        statistic: of how often each unit was drawn, float64 (n,), to a number.
        replicates: how many times.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) for _ in range(replicates))
    found = [statistic(weights) for weights in drawn]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def classification_scores(predictions: Predictions) -> dict[str, Score]:
    """``top1``, ``per_class`` (mean over the classes), and ``top5`` where there are logits of over five classes."""
    scores = {
        "top1": proportion(predictions.right, predictions.groups),
        "per_class": mean_per_class(predictions.labels, predictions.right, predictions.groups),
    }
    if predictions.logits is not None and predictions.logits.shape[1] > 5:
        scores["top5"] = proportion(predictions.top(5), predictions.groups)
    return scores
