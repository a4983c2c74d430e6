"""Sources of chosen images of a source, and of several sources one after the other."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data.draws import AllBut, Drawn, DrawnAgain, Numbers, draw_per_class
from selfsup.data.sources.source import ImageSource, choose_labels, single_labels
from selfsup.errors import ConfigError, DataError
from selfsup.registry import DATASETS


@DATASETS.register_module()
class Subset:
    """Some images of a source, by index, share or number.

    A share or a number is drawn without replacement, in no memory however many they are, and stands in the order of the
    draw; all images stand in the order of the source. The same seed draws the same images, and a smaller share of the
    same seed is contained in a larger one.

    Args:
        dataset: the whole source, built or as a dict.
        indices: which images, in this order; repeats are allowed. A list, an array, or :class:`AllBut`.
        fraction: share of the images, 0 < fraction <= 1, rounded to whole images, at least one.
        count: number of images, 1 <= count <= len(dataset).
        per_class: number of images of every class, in the order of the source.
        seed: of the draw.
        stratified: with ``fraction``, draw that share of every class, at least one image, in the order of the source.
        replacement: with ``count``, draw with replacement; it may be larger than the source then.

    Attributes:
        indices: which images of the whole source: int64, shape (N,), or numbers worked out when asked for.

    Raises:
        ConfigError: if not exactly one of ``indices``, ``fraction``, ``count`` and ``per_class`` is given, or it is out
            of range.
        DataError: if images have no labels to draw by, or a class too few.
    """

    def __init__(
        self,
        dataset: ImageSource | dict[str, Any],
        indices: Sequence[int] | np.ndarray | Numbers | None = None,
        *,
        fraction: float | None = None,
        count: int | None = None,
        per_class: int | None = None,
        seed: int = 0,
        stratified: bool = False,
        replacement: bool = False,
    ) -> None:
        self.dataset: Any = DATASETS.build(dataset)
        length = len(self.dataset)
        if sum(choice is not None for choice in (indices, fraction, count, per_class)) != 1:
            raise ConfigError.at("", "give exactly one of indices, fraction, count and per_class")
        if fraction is not None and not 0 < fraction <= 1:
            raise ConfigError.at("fraction", "must be in (0, 1]", got=fraction)
        if per_class is not None and per_class < 1:
            raise ConfigError.at("per_class", "must be >= 1", got=per_class)
        if per_class is not None or stratified:
            if (labels := single_labels(self.dataset)) is None:
                raise DataError.at("dataset", "images must have one label each to be drawn by class")
            self.indices: np.ndarray | Numbers = draw_per_class(labels, count=per_class, share=fraction, seed=seed)
        elif replacement:
            if count is None or count < 1:
                raise ConfigError.at("count", "must be >= 1 to draw with replacement", got=count)
            self.indices = DrawnAgain(length, count, seed=seed)
        elif isinstance(indices, Numbers):
            self.indices = indices
        elif indices is not None:
            given = np.asarray(indices, np.int64)
            if given.size and (given.min() < 0 or given.max() >= length):
                raise ConfigError.at("indices", f"must lie in [0, {length}), got {given.min()} to {given.max()}")
            self.indices = given
        else:
            size = count if count is not None else max(1, round(length * (fraction or 0)))
            if not 1 <= size <= length:
                raise ConfigError.at("count", f"must be in [1, {length}]", got=size)
            self.indices = Drawn(length, size, seed=seed)

    @property
    def labels(self) -> Any:
        """Labels of the chosen images, looked up when they are asked for; None without labels."""
        return choose_labels(getattr(self.dataset, "labels", None), self.indices)

    @property
    def groups(self) -> Any:
        """Groups of the chosen images; None without groups."""
        return choose_labels(getattr(self.dataset, "groups", None), self.indices)

    @property
    def classes(self) -> Any:
        """The classes of the whole source, so that labels keep their meaning."""
        return getattr(self.dataset, "classes", None)

    @property
    def taxonomy(self) -> Any:
        """Of the classes of the whole source; None where it has none."""
        return getattr(self.dataset, "taxonomy", None)

    @property
    def targets(self) -> Callable[[int], dict] | None:
        """``targets(index)`` of the chosen images; None where the source has none."""
        targets = getattr(self.dataset, "targets", None)
        return targets and (lambda index: targets(int(self.indices[index])))

    @property
    def file(self) -> Callable[[int], str] | None:
        """``file(index)`` of the chosen images; None where the source has no files."""
        file = getattr(self.dataset, "file", None)
        return file and (lambda index: file(int(self.indices[index])))

    @property
    def decoding(self) -> Any:
        """Of the whole source; None where it does not say."""
        return getattr(self.dataset, "decoding", None)

    @property
    def shard_starts(self) -> np.ndarray | None:
        """Where the shards of the whole source begin among the chosen images; None unless all but some are chosen."""
        starts = getattr(self.dataset, "shard_starts", None)
        if starts is None or not isinstance(self.indices, AllBut):
            return None
        return starts - np.searchsorted(self.indices.without, starts)

    @property
    def most_shards_at_once(self) -> int | None:
        """Of how many shards twice as many fit into the cache of the source; None if it has none."""
        return getattr(self.dataset, "most_shards_at_once", None)

    @property
    def prefetch(self) -> Callable[[Sequence[int]], None] | None:
        """Fetches shards of the source that will be needed soon; None if it has none to fetch."""
        return getattr(self.dataset, "prefetch", None)

    @property
    def served(self) -> Callable[[], tuple[int, int] | None] | None:
        """Reads of the source and how many waited for their shard; None if it does not say."""
        return getattr(self.dataset, "served", None)

    @cached_property
    def digest(self) -> str | None:
        """Text that tells this list of images from others; None where the whole source does not have one."""
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
        """The name that the whole source gives the image."""
        return self.dataset.name(int(self.indices[index]))


@DATASETS.register_module()
class Pooled:
    """The images of several sources, one after the other, without their labels: images to be pretrained on.

    Args:
        datasets: the sources, built or as dicts; names are told apart by the number of the source.

    Raises:
        ConfigError: if there are none.
    """

    labels = None
    classes = None

    def __init__(self, datasets: Sequence[ImageSource | dict[str, Any]]) -> None:
        if not datasets:
            raise ConfigError.at("datasets", "must hold at least one source", got=datasets)
        self.datasets: list[Any] = [DATASETS.build(dataset) for dataset in datasets]
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])

    @cached_property
    def digest(self) -> str | None:
        """Text that tells this list of images from others; None where a source does not have one."""
        each = [getattr(dataset, "digest", None) for dataset in self.datasets]
        return None if None in each else hashlib.blake2b(" ".join(map(str, each)).encode(), digest_size=16).hexdigest()

    @property
    def file(self) -> Callable[[int], str] | None:
        """``file(index)`` of all; None unless each source has files."""
        files: list[Any] = [getattr(dataset, "file", None) for dataset in self.datasets]

        def path(index: int) -> str:
            number, within = self._place(index)
            return files[number](within)

        return None if None in files else path

    def __len__(self) -> int:
        return int(self._ends[-1])

    def image(self, index: int) -> np.ndarray:
        """The image at ``index`` of all."""
        number, within = self._place(index)
        return self.datasets[number].image(within)

    def name(self, index: int) -> str:
        """The number of the source, and the name that it gives the image."""
        number, within = self._place(index)
        return f"{number}/{self.datasets[number].name(within)}"

    def _place(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._ends, range(len(self))[index], side="right"))
        return number, range(len(self))[index] - (int(self._ends[number - 1]) if number else 0)


def labelled(source: Any) -> Any:
    """The images of a source that have a label; all of them where none has one, or each may have several."""
    labels = single_labels(source)
    if labels is None:
        return source
    step = 1 << 20  # a billion labels are looked at in parts
    parts = (np.flatnonzero(np.asarray(labels[at : at + step]) < 0) + at for at in range(0, len(source), step))
    without = np.concatenate([np.empty(0, np.int64), *parts])
    return Subset(source, AllBut(len(source), without)) if len(without) else source
