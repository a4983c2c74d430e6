"""95 % intervals of proportions and means, of images by themselves and of groups that belong together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from selfsup.evaluation.scores.found import Predictions, Score

Z = 1.959963984540054
"""Half the width of a 95 % interval in standard deviations of a normal distribution."""

REPLICATES = 1000


def wilson(share: float, n: float, quantile: float = Z) -> tuple[float, float]:
    """The 95 % interval of a proportion.

    Args:
        share: of successes.
        n: trials, > 0; may be a fraction.
        quantile: standard deviations to each side.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    weight = quantile * quantile / n
    center = (share + weight / 2) / (1 + weight)
    half = quantile / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))  # rounding at 0 and 1


def proportion(right: np.ndarray, groups: np.ndarray | None = None) -> Score:
    """The share of true entries: Wilson's interval, on fewer images where images belong together.

    Args:
        right: bool (N,).
        groups: int64 (N,), or None; see :func:`mean_per_class` for what they do.
    """
    return mean_per_class(np.zeros(len(right), np.int64), right, groups)


def mean_per_class(labels: np.ndarray, right: np.ndarray, groups: np.ndarray | None = None) -> Score:
    """The mean over the classes of the share of right predictions; classes without an image do not count.

    The interval is Wilson's on the number of images that would vary as much. A class adds p (1 - p) / n to the
    variance, where p is its share with one image of the mean added, so that a class of one or two images does not
    seem certain. With groups the variance is multiplied by the design effect: that of the sum over groups against that
    of the sum over images, between 1 and what groups of equal images give; and Wilson's z is replaced by Student's t,
    because few groups say little about it. benchmarks/coverage.py shows what comes of it.

    Args:
        labels: int64 (N,).
        right: bool (N,).
        groups: int64 (N,), or None.

    Source: Dean and Pagano 2015, J. Surv. Stat. Methodol. 3, 484-503 (Wilson on an effective number); Bell and
    McCaffrey 2002, Surv. Methodol. 28, 169-181 (the variance of few groups); the degrees of freedom are twice
    Satterthwaite's, which alone are too few in the simulation.
    """
    cells = np.unique(labels, return_inverse=True)[1]
    clusters = clustered(right.astype(np.float64), cells, groups)
    sizes, shares, value = clusters.sizes, clusters.means, clusters.value
    n = float(len(right))
    if len(sizes) > 1:
        shrunk = (sizes * shares + value) / (sizes + 1)
        variances = shrunk * (1 - shrunk) / sizes / (1 - sizes / (sizes + 1) ** 2)  # without bias for equal chances
        variance = float(variances.sum()) / len(sizes) ** 2
        n = value * (1 - value) / variance if variance > 0 else clusters.plain_n
    low, high = wilson(value, n / clusters.effect, clusters.quantile)
    return Score(value, low, high, clusters.n, clusters.spread)


def mean(values: np.ndarray, groups: np.ndarray | None = None, cells: np.ndarray | None = None) -> Score:
    """The mean of numbers in [0, 1], with Wilson's interval on the number of yes and no that would vary as much.

    Args:
        values: float (N,).
        groups: of values that belong together, int64 (N,), or None.
        cells: for the mean over cells, such as classes, of their means, int64 (N,); None for the plain mean.
    """
    cells = np.zeros(len(values), np.int64) if cells is None else np.unique(cells, return_inverse=True)[1]
    clusters = clustered(values, cells, groups)
    value, variance = clusters.value, clusters.variance
    n = value * (1 - value) / variance if variance > 0 else clusters.plain_n / clusters.effect
    return Score(value, *wilson(value, max(n, 1e-9), clusters.quantile), clusters.n, clusters.spread)


def over_draws(values: Sequence[float]) -> Score:
    """The mean of scores in [0, 1] of several draws, with its 95 % interval by Student's t."""
    value, count = float(np.mean(values)), len(values)
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / count**0.5
    return Score(value, max(0.0, value - half), min(1.0, value + half), count, "draws")


@dataclass(frozen=True)
class Clustered:
    """A mean over cells of their means, and what groups do to its variance.

    Args:
        value: the mean.
        means: of each cell, (C,).
        sizes: of each cell, (C,).
        n: groups, or images where none belong together.
        plain_n: how many images of one cell would vary as much, if all vary alike.
        effect: how many times the variance is greater than that of as many images by themselves, the design effect.
        variance: of the mean.
        df: degrees of freedom of that variance.
        spread: over what it is.
    """

    value: float
    means: np.ndarray
    sizes: np.ndarray
    n: int
    plain_n: float
    effect: float
    variance: float
    df: float
    spread: Literal["images", "groups"]

    @property
    def quantile(self) -> float:
        """How many standard deviations 95 % lie within."""
        return student_quantile(float(f"{self.df:.3g}"))  # few different ones, which are remembered


def clustered(values: np.ndarray, cells: np.ndarray, groups: np.ndarray | None) -> Clustered:
    """See :class:`Clustered`.

    Args:
        values: float64 (N,).
        cells: int64 (N,), each of 0 to C - 1 at least once.
        groups: int64 (N,), or None.
    """
    n = len(values)
    units = None if groups is None else np.unique(groups, return_inverse=True)[1]
    if units is not None and int(units.max()) + 1 == n:
        units = None
    sizes = np.bincount(cells)
    means = np.bincount(cells, values) / sizes
    value = float(means.mean())
    weights = 1 / (sizes * len(sizes))
    plain_n, variance = 1 / float((weights * weights * sizes).sum()), 0.0
    if n > 1:
        variance = float(_squares(values, cells, np.arange(n), sizes, means, value)[0].sum())
    if units is None:
        df = math.inf if n > 1 else 1.0
        return Clustered(value, means, sizes, n, plain_n, 1.0, variance, df, "images")
    count = int(units.max()) + 1
    most = max(1.0, float(np.square(np.bincount(units, weights[cells])).sum()) * plain_n)
    if count == 1 or variance == 0:
        return Clustered(value, means, sizes, count, plain_n, most, variance * most, math.inf, "groups")
    together, free = _squares(values, cells, units, sizes, means, value)
    effect = float(np.clip(together.sum() / variance, 1, most))
    uneven = float(together @ together) / max(float(together.sum()) ** 2, 1e-300) - 1 / count
    df = max(2.0, min(free, 4 / uneven if uneven > 0 else math.inf))
    return Clustered(value, means, sizes, count, plain_n, effect, variance * effect, df, "groups")


def _squares(
    values: np.ndarray, cells: np.ndarray, units: np.ndarray, sizes: np.ndarray, means: np.ndarray, value: float
) -> tuple[np.ndarray, int]:
    """What each unit adds to the variance of the mean, (U,), and how many deviations are free.

    A cell's mean follows what lies in it, the more the fewer units it has; its deviations are made up for that. A cell
    that is one unit has no deviation of its own: the one from the whole mean stands for it.
    """
    pairs, pair = np.unique(units * len(sizes) + cells, return_inverse=True)
    unit, cell = np.divmod(pairs, len(sizes))
    counts = np.bincount(pair)
    share = counts / sizes[cell]
    whole = share >= 1
    center = np.where(whole, value, means[cell])
    deviation = (np.bincount(pair, values) - counts * center) / (sizes[cell] * len(sizes))
    deviation /= np.sqrt(np.where(whole, 1.0, 1 - share))
    return np.square(np.bincount(unit, deviation)), len(pairs) - len(sizes)


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return (nodes + 1) / 2, weights / 2


def student_tail(t: float, df: float) -> float:
    """P(|T| > t) of Student's distribution, by quadrature; ``df`` may be any number > 0.

    Args:
        t: >= 0.
        df: degrees of freedom; infinite for the normal distribution.
    """
    if df > 1e5:
        return math.erfc(t / math.sqrt(2))
    # with t = sqrt(df) tan(angle) the density is proportional to cos(angle) ** (df - 1)
    nodes, weights = _nodes()

    def area(start: float, end: float) -> float:
        angles = start + (end - start) * nodes
        return float((end - start) * weights @ np.cos(angles) ** (df - 1))

    start, middle = math.atan(t / math.sqrt(df)), min(math.pi / 2, 12 / math.sqrt(df))
    whole = area(0, middle) + area(middle, math.pi / 2)
    beyond = area(start, max(start, middle)) + area(max(start, middle), math.pi / 2)
    return min(1.0, beyond / whole)


@lru_cache(4096)
def student_quantile(df: float) -> float:
    """The t with P(|T| > t) = 0.05."""
    if df > 1e5:
        return Z
    low, high = Z, 13.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, df) > 0.05 else (low, middle)
    return high


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
    """``top1``, ``per_class`` (mean over the classes), and ``top5`` where five of more are known in their order."""
    scores = {
        "top1": proportion(predictions.right, predictions.groups),
        "per_class": mean_per_class(predictions.labels, predictions.right, predictions.groups),
    }
    classes = len(predictions.class_names) if predictions.logits is None else predictions.logits.shape[1]
    if predictions.has_top5 and classes > 5:
        scores["top5"] = proportion(predictions.top(5), predictions.groups)
    return scores
