"""Two representations on the same test images: how far one is ahead, with an interval and a test."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from selfsup.errors import DataError
from selfsup.evaluation.scores.found import Predictions
from selfsup.evaluation.scores.intervals import Z, clustered, student_tail

_DEGREES = 2  # times those of a mean: with these alone 97 % and more of the grouped intervals hold the truth


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

    Source: Tango 1998, Stat. Med. 17, 891-908; for groups as :func:`mean_per_class`, with twice the degrees of freedom,
    for which benchmarks/coverage.py comes closer to 95 %.
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
    clusters = clustered(gains.astype(np.float64), cells, groups)
    clusters = dataclasses.replace(clusters, df=clusters.df * _DEGREES)
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
