"""The labels of chosen images, looked up when they are asked for: choosing half of a billion takes no memory."""

from collections.abc import Callable
from typing import Any

import numpy as np

from selfsup.data.draw import Drawn
from selfsup.data.sources.label_sets import LabelSets


class ChosenLabels:
    """As much of an array as is asked of labels: a length, and the labels of one image, several or all.

    Args:
        labels: of the whole data set.
        original: the numbers in the whole data set of the images with these numbers among the chosen.
        length: how many are chosen.
    """

    def __init__(self, labels: Any, original: Callable[[Any], Any], length: int) -> None:
        self._labels = labels
        self._original = original
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            index = np.arange(self._length)[index]
        return self._labels[self._original(index)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class ChosenLabelSets:
    """As much of :class:`~selfsup.data.LabelSets` as is asked of it, for chosen images.

    Args:
        label_sets: of the whole data set.
        indices: the numbers in the whole data set of the chosen images.
    """

    def __init__(self, label_sets: "LabelSets | ChosenLabelSets", indices: np.ndarray | Drawn) -> None:
        self._label_sets = label_sets
        self._indices = indices
        self.num_classes: int = label_sets.num_classes

    def __len__(self) -> int:
        return len(self._indices)

    def row(self, index: int) -> np.ndarray:
        """1 for each class of the image and 0 for all others, uint8, shape (C,)."""
        return self._label_sets.row(int(self._indices[index]))
