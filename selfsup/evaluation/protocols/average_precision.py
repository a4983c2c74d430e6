"""The average precision of a class, in three ways, and its mean over the classes."""

from typing import Any, Literal

import numpy as np

from selfsup.evaluation.scores import Score, Z

_REPLICATES = 200
AveragePrecision = Literal["full", "11-point", "scikit-learn"]
KINDS: dict[str, AveragePrecision] = {"map": "full", "map_11": "11-point", "map_step": "scikit-learn"}


def average_precision(
    known: np.ndarray, scores: np.ndarray, kind: AveragePrecision = "full", weights: np.ndarray | None = None
) -> Any:
    """The average precision of a class.

    Args:
        known: 1 for images that show it, 0 for those that do not, -1 for those that are left out, (N,).
        scores: greater for images that are thought to show it, (N,).
        kind: ``'full'``, the area under precision made monotone; ``'11-point'``, the mean of that at recalls of 0, 0.1
            to 1; ``'scikit-learn'``, the area under the steps of precision itself.
        weights: how often each image counts, in each of several draws, (R, N); None for once, in one.

    Returns:
        A number, or float64 (R,); NaN where no image shows the class.

    Source: Everingham et al. 2010, Int. J. Comput. Vis. 88, section 4.2 (11-point); VOC2010's development kit (full).
    """
    counted = np.flatnonzero(known >= 0)
    counted = counted[np.argsort(-scores[counted], kind="stable")]
    count = np.ones((1, len(counted))) if weights is None else weights[:, counted].astype(np.float64)
    if not len(counted):
        return np.full(len(count), np.nan) if weights is not None else float("nan")
    last = np.append(np.diff(scores[counted]) != 0, True)  # equal scores are one step
    hits, all_ = ((known[counted] > 0) * count).cumsum(axis=1)[:, last], count.cumsum(axis=1)[:, last]
    total = hits[:, -1:]
    recall, precision = hits / np.where(total > 0, total, np.nan), hits / np.maximum(all_, 1e-300)
    if kind != "scikit-learn":
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if kind == "11-point":
        first = [(recall >= tenth / 10 - 1e-12).argmax(axis=1)[:, None] for tenth in range(11)]
        points = np.take_along_axis(precision, np.concatenate(first, axis=1), axis=1)
        found = np.where(total[:, 0] > 0, points.mean(axis=1), np.nan)
    else:
        found = (np.diff(recall, axis=1, prepend=0) * precision).sum(axis=1)
    return float(found[0]) if weights is None else found


def mean_average_precision(
    scores: np.ndarray, known: np.ndarray, kind: AveragePrecision = "full", weights: Any = None
) -> Any:
    """The mean of :func:`average_precision` over the classes, the columns of both arrays, that an image shows."""
    each = [average_precision(known[:, n], scores[:, n], kind, weights) for n in range(known.shape[1])]
    return np.nanmean(each, axis=0)


def mean_scores(scores: np.ndarray, known: np.ndarray, groups: np.ndarray | None) -> dict[str, Score]:
    """Means over the classes, with an interval of two standard deviations under resampling of images or groups."""
    units = np.arange(len(known)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(units.max()) + 1
    rng = np.random.default_rng(0)
    found: dict[str, Score] = {}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
    for _ in range(_REPLICATES // 20):  # 20 at once, to bound the memory
        weights = np.stack([np.bincount(rng.integers(0, count, count), minlength=count)[units] for _ in range(20)])
        for name, kind in KINDS.items():
            drawn[name].append(mean_average_precision(scores, known, kind, weights))
    for name, kind in KINDS.items():
        value, half = (
            float(mean_average_precision(scores, known, kind)),
            Z * float(np.std(np.concatenate(drawn[name]), ddof=1)),
        )
        spread: Any = "images" if count == len(known) else "groups"
        found[name] = Score(value, max(0.0, value - half), min(1.0, value + half), count, spread)
    return found
