"""A data set without a few of its images, in the memory of the few."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsup.data.chosen import ChosenLabels
from selfsup.data.sources.image_source import ImageDataset
from selfsup.errors import ConfigError


class AllBut:
    """A data set without some of its images; a billion others cost nothing.

    Args:
        dataset: the whole data set; at most one class for each image.
        without: numbers of the images that are left out, in any order.

    Raises:
        ConfigError: if one of them is no image of the data set.
    """

    def __init__(self, dataset: ImageDataset, without: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.without = np.unique(np.asarray(without, np.int64))
        if self.without.size and not 0 <= self.without[0] <= self.without[-1] < len(dataset):
            raise ConfigError(
                f"AllBut.without: must lie in [0, {len(dataset)}), got {self.without[0]} to {self.without[-1]}"
            )
        self._kept_before = self.without - np.arange(len(self.without))

    @property
    def labels(self) -> Any:
        """Labels of the images that are left, looked up when they are asked for; None without labels."""
        labels = self.dataset.labels
        return None if labels is None else ChosenLabels(labels, self.original, len(self))

    @property
    def classes(self) -> list[str] | None:
        """The classes of the whole data set, so that labels keep their meaning."""
        return self.dataset.classes

    def __len__(self) -> int:
        return len(self.dataset) - len(self.without)

    def image(self, index: int) -> np.ndarray:
        """The image at ``index`` of those that are left: uint8, shape (H, W, 3)."""
        return self.dataset.image(int(self.original(index)))

    def name(self, index: int) -> str:
        """The name the whole data set gives the image."""
        return self.dataset.name(int(self.original(index)))

    def original(self, index: int | np.ndarray) -> np.ndarray:
        """The number in the whole data set of an image, or of several.

        Raises:
            IndexError: if there is no such image among those that are left.
        """
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"index {index.min()} to {index.max()}, there are {len(self)} images")
        return index + np.searchsorted(self._kept_before, index, side="right")
