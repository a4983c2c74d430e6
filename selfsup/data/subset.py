"""A part of an image data set."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data.draw import draw
from selfsup.data.image_dataset import ImageDataset
from selfsup.data.label_sets import LabelSets
from selfsup.errors import ConfigError
from selfsup.registry import DATASETS


@DATASETS.register_module()
class Subset:
    """Some images of a data set, by index, share or number.

    A share or a number is drawn without replacement and kept in the order of the data set; the same seed draws the same
    images, and a smaller share of the same seed is contained in a larger one.

    Args:
        dataset: the whole data set, built or as a dict.
        indices: which images, in this order; repeats are allowed.
        fraction: share of the images, 0 < fraction <= 1, rounded to whole images, at least one.
        count: number of images, 1 <= count <= len(dataset).
        seed: for ``fraction`` and ``count``.

    Raises:
        ConfigError: if not exactly one of ``indices``, ``fraction`` and ``count`` is given, or it is out of range.
    """

    def __init__(
        self,
        dataset: ImageDataset | dict[str, Any],
        indices: Sequence[int] | np.ndarray | None = None,
        *,
        fraction: float | None = None,
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset: ImageDataset = DATASETS.build(dataset)
        length = len(self.dataset)
        if sum(choice is not None for choice in (indices, fraction, count)) != 1:
            raise ConfigError("Subset: give exactly one of indices, fraction and count")
        if indices is not None:
            self.indices = np.asarray(indices, np.int64)
            if self.indices.size and (self.indices.min() < 0 or self.indices.max() >= length):
                raise ConfigError(
                    f"Subset.indices: must lie in [0, {length}), got {self.indices.min()} to {self.indices.max()}"
                )
        else:
            if fraction is not None and not 0 < fraction <= 1:
                raise ConfigError(f"Subset.fraction: must be in (0, 1], got {fraction}")
            size = count if count is not None else max(1, round(length * (fraction or 0)))
            if not 1 <= size <= length:
                raise ConfigError(f"Subset.count: must be in [1, {length}], got {size}")
            self.indices = draw(length, size, seed=seed)

    @cached_property
    def labels(self) -> np.ndarray | None:
        """Labels of the chosen images, int64, shape (N,), or ``None``; gathered once, read for every sample."""
        return None if self.dataset.labels is None else self.dataset.labels[self.indices]

    @cached_property
    def label_sets(self) -> LabelSets | None:
        """The classes of the chosen images where they may have several, or ``None``."""
        sets = getattr(self.dataset, "label_sets", None)
        return None if sets is None else sets.take(self.indices)

    @property
    def classes(self) -> list[str] | None:
        """The classes of the whole data set, so that labels keep their meaning."""
        return self.dataset.classes

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> np.ndarray:
        """The image at ``index`` of the subset: uint8, shape (H, W, 3)."""
        return self.dataset.image(int(self.indices[index]))

    def name(self, index: int) -> str:
        """The name the whole data set gives the image."""
        return self.dataset.name(int(self.indices[index]))
