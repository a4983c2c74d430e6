"""A part of an image data set."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data.chosen import ChosenLabels, ChosenLabelSets
from selfsup.data.draw import Drawn
from selfsup.data.sources.image_source import ImageDataset
from selfsup.errors import ConfigError
from selfsup.registry import DATASETS


@DATASETS.register_module()
class Subset:
    """Some images of a data set, by index, share or number.

    A share or a number is drawn without replacement, in no memory however many they are, and stands in the order of the
    draw; all images stand in the order of the data set. The same seed draws the same images, and a smaller share of the
    same seed is contained in a larger one.

    Args:
        dataset: the whole data set, built or as a dict.
        indices: which images, in this order; repeats are allowed.
        fraction: share of the images, 0 < fraction <= 1, rounded to whole images, at least one.
        count: number of images, 1 <= count <= len(dataset).
        seed: for ``fraction`` and ``count``.

    Attributes:
        indices: which images of the whole data set: int64, shape (N,), or a :class:`~selfsup.data.draw.Drawn`.

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
            given = np.asarray(indices, np.int64)
            if given.size and (given.min() < 0 or given.max() >= length):
                raise ConfigError(f"Subset.indices: must lie in [0, {length}), got {given.min()} to {given.max()}")
            self.indices: np.ndarray | Drawn = given
        else:
            if fraction is not None and not 0 < fraction <= 1:
                raise ConfigError(f"Subset.fraction: must be in (0, 1], got {fraction}")
            size = count if count is not None else max(1, round(length * (fraction or 0)))
            if not 1 <= size <= length:
                raise ConfigError(f"Subset.count: must be in [1, {length}], got {size}")
            self.indices = Drawn(length, size, seed=seed)

    @property
    def labels(self) -> Any:
        """Labels of the chosen images, looked up when they are asked for; ``None`` without labels."""
        labels = self.dataset.labels
        return None if labels is None else ChosenLabels(labels, self.indices.__getitem__, len(self))

    @property
    def label_sets(self) -> ChosenLabelSets | None:
        """The classes of the chosen images where they may have several, or ``None``."""
        sets = getattr(self.dataset, "label_sets", None)
        return None if sets is None else ChosenLabelSets(sets, self.indices)

    @property
    def classes(self) -> list[str] | None:
        """The classes of the whole data set, so that labels keep their meaning."""
        return self.dataset.classes

    @cached_property
    def digest(self) -> str | None:
        """What tells this list of images from others; ``None`` where the whole data set does not know its own."""
        whole = getattr(self.dataset, "digest", None)
        if whole is None:
            return None
        choice = self.indices.tobytes() if isinstance(self.indices, np.ndarray) else self.indices.name.encode()
        return hashlib.blake2b(whole.encode() + choice, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> np.ndarray:
        """The image at ``index`` of the subset: uint8, shape (H, W, 3)."""
        return self.dataset.image(int(self.indices[index]))

    def name(self, index: int) -> str:
        """The name the whole data set gives the image."""
        return self.dataset.name(int(self.indices[index]))
