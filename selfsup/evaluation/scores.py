"""Numbers with intervals, and what an evaluator finds."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from selfsup.errors import ConfigError, DataError

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
        names: of the images, or None.
        ranked: the classes with the greatest logits, the greatest first, int64 (N, up to 5), instead of the logits.
        sure: the greatest share of the softmax, (N,), likewise.
    """

    index: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray | None = None
    groups: np.ndarray | None = None
    classes: Sequence[str] | None = None
    names: Sequence[str] | None = None
    ranked: np.ndarray | None = None
    sure: np.ndarray | None = None

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, bool (N,)."""
        return self.predicted == self.labels

    def top(self, k: int) -> np.ndarray:
        """Whether the label is among the k classes with the greatest logits, bool (N,); k <= 5 without logits."""
        if self.logits is None:
            assert self.ranked is not None and k <= max(5, self.ranked.shape[1])
            return (self.ranked[:, :k] == self.labels[:, None]).any(axis=1)
        own = np.take_along_axis(self.logits, self.labels[:, None].clip(0, self.logits.shape[1] - 1), axis=1)
        return ((self.logits > own).sum(axis=1) < k) & (self.labels < self.logits.shape[1])

    def best(self, k: int) -> np.ndarray:
        """The classes with the greatest logits, the greatest first, int64 (N, up to k); the predicted one without."""
        if self.logits is None:
            return self.predicted[:, None] if self.ranked is None else self.ranked[:, :k]
        return np.argsort(-self.logits, axis=1, kind="stable")[:, :k]

    @cached_property
    def confidence(self) -> np.ndarray:
        """The greatest share of the softmax of the logits, (N,); NaN without logits."""
        if self.sure is not None:
            return self.sure
        if self.logits is None:
            return np.full(len(self.labels), np.nan)
        return 1 / np.exp(self.logits - self.logits.max(axis=1, keepdims=True)).sum(axis=1)

    def hits(self, metric: str) -> np.ndarray:
        """What is averaged for ``'top1'``, ``'per_class'`` or ``'top5'``, bool (N,).

        Raises:
            ConfigError: for another metric, or for the top five where only the best class is known.
        """
        if metric in ("top1", "per_class"):
            return self.right
        if metric != "top5":
            raise ConfigError.at("metric", "must be 'top1', 'top5' or 'per_class'", got=metric)
        if self.logits is None and self.ranked is None:
            raise ConfigError.at("metric", "only the best class of each image is known", got=metric)
        return self.top(5)

    @cached_property
    def class_names(self) -> list[str]:
        """Names in label order; the labels themselves where there are no names."""
        if self.classes is not None:
            return list(self.classes)
        return [str(number) for number in range(int(max(self.labels.max(), self.predicted.max())) + 1)]

    def chosen(self, places: np.ndarray) -> "Predictions":
        """Those of some images, by their places in the arrays."""
        arrays: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[places]
            for name in ("index", "labels", "predicted", "logits", "groups", "ranked", "sure")
        }
        names = None if self.names is None else [self.names[place] for place in places.tolist()]
        return dataclasses.replace(self, **arrays, names=names)


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
    clusters = _clusters(right.astype(np.float64), cells, groups)
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
    clusters = _clusters(values, cells, groups)
    value, variance = clusters.value, clusters.variance
    n = value * (1 - value) / variance if variance > 0 else clusters.plain_n / clusters.effect
    return Score(value, *wilson(value, max(n, 1e-9), clusters.quantile), clusters.n, clusters.spread)


@dataclass(frozen=True)
class _Clusters:
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


def _clusters(values: np.ndarray, cells: np.ndarray, groups: np.ndarray | None) -> _Clusters:
    """See :class:`_Clusters`.

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
        return _Clusters(value, means, sizes, n, plain_n, 1.0, variance, df, "images")
    count = int(units.max()) + 1
    most = max(1.0, float(np.square(np.bincount(units, weights[cells])).sum()) * plain_n)
    if count == 1 or variance == 0:
        return _Clusters(value, means, sizes, count, plain_n, most, variance * most, math.inf, "groups")
    together, free = _squares(values, cells, units, sizes, means, value)
    effect = float(np.clip(together.sum() / variance, 1, most))
    uneven = float(together @ together) / max(float(together.sum()) ** 2, 1e-300) - 1 / count
    df = max(2.0, min(free, 4 / uneven if uneven > 0 else math.inf))
    return _Clusters(value, means, sizes, count, plain_n, effect, variance * effect, df, "groups")


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


@dataclass(frozen=True)
class Difference:
    """How far the second of two representations is ahead of the first on the same test images.

    Args:
        value: difference of the accuracies, in [-1, 1]; > 0 where the second is better.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        p: of the test that both are equal; below 0.05 just where the interval leaves 0 out.
        n: images that both have predicted.
        spread: over what the interval is.
        unpaired: images that only one of them has predicted; they are left out.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    spread: Literal["images", "groups"] = "images"
    unpaired: int = 0

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def words(self, first: str = "A", second: str = "B") -> str:
        """Such as 'B is ahead by 1.3 points, 95 % interval 0.2 to 2.4'."""
        ahead, sign = (second, 1) if self.value >= 0 else (first, -1)
        points = f"{abs(self.value) * 100:.1f} points"
        told = f"{ahead} is ahead by {points}" if self.value else f"{first} and {second} are equal"
        if self.low is None or self.high is None:
            return told
        ends = sorted((sign * self.low * 100, sign * self.high * 100))
        doubt = "" if self.clear else ": no difference is shown"
        return f"{told}, 95 % interval {ends[0] + 0.0:.1f} to {ends[1] + 0.0:.1f}{doubt}"

    def __str__(self) -> str:
        return self.words()


def paired(a: Predictions, b: Predictions, *, metric: Literal["top1", "top5", "per_class"] = "top1") -> Difference:
    """How far ``b`` is ahead of ``a`` on the test images that both have predicted.

    Tango's score interval, which leaves 0 out just where McNemar's test rejects; with groups both on the number of
    images that would vary as much, with Student's t; likewise for the mean per class.

    Args:
        a: predictions of one representation.
        b: of another; images are matched by name where both have names, else by index.
        metric: what is compared.

    Raises:
        DataError: if they have no image in common, or label an image differently.

    Source: Tango 1998, Stat. Med. 17, 891-908; for groups as :func:`mean_per_class`.
    """
    first, second = matched(a, b)
    unpaired = len(a.labels) + len(b.labels) - 2 * len(first.labels)
    gains = second.hits(metric).astype(np.int64) - first.hits(metric)
    found = _difference(gains, first.labels if metric == "per_class" else None, first.groups)
    return dataclasses.replace(found, unpaired=unpaired)


def paired_by(a: Predictions, b: Predictions, taxa: Sequence[str] | None = None) -> dict[str, Difference]:
    """:func:`paired`, for the images of each class or taxon by themselves.

    These are many intervals: of a hundred taxa without any difference five are expected to look clear.

    Args:
        a: predictions of one representation.
        b: of another.
        taxa: name of each class's taxon, in label order; None for the classes themselves.

    Returns:
        By name, the greatest gain of ``b`` first.

    Raises:
        DataError: as :func:`paired`.
    """
    first, second = matched(a, b)
    gains = second.right.astype(np.int64) - first.right
    names = first.class_names if taxa is None else list(taxa)
    of_each = np.array(names, dtype=object)[first.labels]
    found = {}
    for name in dict.fromkeys(names):
        chosen = of_each == name
        if chosen.any():
            groups = None if first.groups is None else first.groups[chosen]
            found[name] = _difference(gains[chosen], None, groups)
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def matched(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both for the images that both have, in the order of the first.

    Raises:
        DataError: if they have no image in common, or label an image differently.
    """
    by_name = a.names is not None and b.names is not None
    keys: list[Sequence[Any]] = [each.names if by_name else each.index.tolist() for each in (a, b)]  # type: ignore[misc]
    place = {key: number for number, key in enumerate(keys[1])}
    pairs = [(number, place[key]) for number, key in enumerate(keys[0]) if key in place]
    if not pairs:
        raise DataError.at(
            "predictions",
            "the two have no test image in common",
            got=[str(key[0]) for key in keys if len(key)],
            expected="both must be evaluated on the same task",
        )
    first, second = (each.chosen(places) for each, places in zip((a, b), np.array(pairs).T, strict=True))
    if a.classes is not None and b.classes is not None and list(a.classes) != list(b.classes):
        same = np.array([first.class_names[i] == second.class_names[j] for i, j in _labels(first, second)])
    else:
        same = first.labels == second.labels
    if not same.all():
        where = int(np.flatnonzero(~same)[0])
        raise DataError.at(
            "predictions",
            f"{int((~same).sum()):,} images have other labels in the one than in the other",
            got=str(keys[0][pairs[where][0]]),
        )
    return first, second


def _labels(first: Predictions, second: Predictions) -> Iterator[tuple[int, int]]:
    return zip(first.labels.tolist(), second.labels.tolist(), strict=True)


def _difference(gains: np.ndarray, labels: np.ndarray | None, groups: np.ndarray | None) -> Difference:
    """The mean of -1, 0 and 1, or the mean over classes of their means."""
    n = len(gains)
    cells = np.zeros(n, np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    clusters = _clusters(gains.astype(np.float64), cells, groups)
    value = clusters.value
    if clusters.n < 2:
        return Difference(value, None, None, None, n, clusters.spread)
    weights = 1 / (clusters.sizes[cells] * len(clusters.sizes))
    up, down = float(weights[gains > 0].sum()), float(weights[gains < 0].sum())
    effective = float(n)
    if len(clusters.sizes) > 1:
        alone = clusters.variance / clusters.effect
        effective = (up + down - value * value) / alone if alone > 0 else clusters.plain_n
    effective /= clusters.effect
    low, high = tango(up * effective, down * effective, effective, clusters.quantile)
    score = abs(up - down) * math.sqrt(effective / (up + down)) if up + down else 0.0
    return Difference(value, low, high, student_tail(score, clusters.df), n, clusters.spread)


def tango(up: float, down: float, n: float, quantile: float = Z) -> tuple[float, float]:
    """The score interval of a difference of paired proportions, (up - down) / n.

    Args:
        up: pairs of which the second alone is right; may be a fraction.
        down: pairs of which the first alone is right.
        n: pairs, > 0.
        quantile: standard deviations to each side.

    Source: Tango 1998, Stat. Med. 17, 891-908, equations 4 to 7.
    """

    def score(delta: float) -> float:
        b = -up - down + (2 * n - up + down) * delta
        c = -down * delta * (1 - delta)
        share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share + delta * (1 - delta))
        distance = up - down - n * delta
        return distance / math.sqrt(variance) if variance > 1e-12 * n else math.copysign(math.inf, distance)

    value = (up - down) / n
    return _root(score, -1.0, value, quantile), _root(score, value, 1.0, -quantile)


def _root(falling: Callable[[float], float], low: float, high: float, level: float) -> float:
    """Where a falling function crosses a level; an end where it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return low if level > 0 else high


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
