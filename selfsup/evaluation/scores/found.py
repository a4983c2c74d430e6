"""What an evaluator finds: numbers, and what was predicted for each image."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from selfsup.errors import ConfigError

_ROWS = 1024  # that are ranked at a time


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
        logits: float (N, C), where the predictor gives them; -inf for a class that is out of the question.
        groups: of each image, int64 (N,), or None.
        classes: names in label order, or None.
        names: of the images, or None.
        ranked: what :meth:`best` gives for 5, instead of the logits.
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
        """Whether the label is among the :meth:`best` k classes, bool (N,); k <= 5 without logits."""
        return (self.best(k) == self.labels[:, None]).any(axis=1)

    def best(self, k: int) -> np.ndarray:
        """The classes with the greatest logits, the greatest first, of equal ones the smaller number, int64 (N, up to
        k); -1 in place of classes with the logit -inf; the predicted class alone where there are no logits.
        """
        if self.logits is None:
            return self.predicted[:, None] if self.ranked is None else self.ranked[:, :k]
        blocks = (self.logits[start : start + _ROWS] for start in range(0, max(1, len(self.logits)), _ROWS))
        return np.concatenate([_greatest(block, min(k, block.shape[1])) for block in blocks])

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
        if not self.has_top5:
            raise ConfigError.at("metric", "only the best class of each image is known", got=metric)
        return self.top(5)

    @property
    def has_top5(self) -> bool:
        """Whether more is known of an image than its best class."""
        return self.logits is not None or (self.ranked is not None and bool((self.ranked[:, 1:] >= 0).any()))

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


def _greatest(values: np.ndarray, k: int) -> np.ndarray:
    """The columns of the k greatest values of each row, see :meth:`Predictions.best`."""
    some = np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k], axis=1)
    found = np.take_along_axis(values, some, axis=1)
    order = np.take_along_axis(some, np.argsort(-found, axis=1, kind="stable"), axis=1)
    least = found.min(axis=1, keepdims=True)
    tied = ((values >= least).sum(axis=1) > k) & (least[:, 0] > -np.inf)
    order[tied] = np.argsort(-values[tied], axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(values, order, axis=1) > -np.inf, order, -1)


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
