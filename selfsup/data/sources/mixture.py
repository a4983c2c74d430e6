"""Several sources as one, each with its share of the images that are seen."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data.sampler import FeistelPermutation
from selfsup.data.sources.source import ImageSource, join_classes, single_labels
from selfsup.errors import ConfigError
from selfsup.registry import DATASETS

_PURPOSE = 0x313C  # a third number in the key, so that permutations of the sampler are not repeated


@DATASETS.register_module()
class Mixture:
    """Sources that are seen in given shares.

    A pass is as long as it takes for every image to be seen once: one source is seen once, the others are repeated,
    wholly and then in part, to fill their shares. Repeats of an image have its name, and so lie on one side of a
    split.

    Args:
        datasets: the sources by name, built or as dicts.
        weights: the share of each, > 0, by the same names; their sum does not matter. None gives each its size.
        seed: which images of a source are repeated once more than others.

    Attributes:
        counts: how many places of a pass each source has, in the order of ``datasets``.
        classes: of all sources, joined by name; None unless each has some, and one label an image.

    Raises:
        ConfigError: if there is no source, or weights do not fit the sources.
    """

    def __init__(
        self,
        datasets: Mapping[str, ImageSource | dict[str, Any]],
        weights: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        sources: list[Any] = [DATASETS.build(source) for source in datasets.values()]
        if not sources:
            raise ConfigError.at("datasets", "must name a source")
        if weights is not None and (set(weights) != set(datasets) or not all(share > 0 for share in weights.values())):
            names = ", ".join(datasets)
            raise ConfigError.at("weights", "must be > 0, one for each source", got=dict(weights), expected=names)
        sizes = [len(source) for source in sources]
        shares = sizes if weights is None else [weights[name] for name in datasets]
        passes = max(size / share for size, share in zip(sizes, shares, strict=True))
        self.counts = [max(size, math.floor(passes * share + 0.5)) for size, share in zip(sizes, shares, strict=True)]
        labelled = all(single_labels(source) is not None and getattr(source, "classes", None) for source in sources)
        self.sources = join_classes(sources) if labelled else sources
        self.names = list(datasets)
        self.seed = seed
        self.classes: list[str] | None = list(self.sources[0].classes) if labelled else None
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])
        self._orders = [FeistelPermutation(size, (seed, number, _PURPOSE)) for number, size in enumerate(sizes)]

    @property
    def labels(self) -> "MixtureLabels | None":
        """Positions in ``classes``; None without classes."""
        return None if self.classes is None else MixtureLabels(self)

    @cached_property
    def digest(self) -> str | None:
        """What tells this mixture from others; None where a source cannot tell."""
        digests = [getattr(source, "digest", None) for source in self.sources]
        if None in digests:
            return None
        return hashlib.blake2b(json.dumps([digests, self.counts, self.seed]).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def image(self, index: int) -> np.ndarray:
        """The image at a place of the pass: uint8, shape (H, W, 3)."""
        number, image = self.place(index)
        return self.sources[number].image(image)

    def name(self, index: int) -> str:
        """The name of the source, and the name that it gives the image."""
        number, image = self.place(index)
        return f"{self.names[number]}/{self.sources[number].name(image)}"

    def place(self, index: int) -> tuple[int, int]:
        """The number of the source, and the image there.

        Raises:
            IndexError: if the pass is shorter.
        """
        index = range(len(self))[int(index)]
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        order = self._orders[number]
        return number, order.at((index - int(self._starts[number])) % order.length)

    def places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`place` of many, int64."""
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        images = np.empty_like(indices)
        for number, order in enumerate(self._orders):
            chosen = numbers == number
            images[chosen] = order((indices[chosen] - self._starts[number]) % order.length)
        return numbers, images


class MixtureLabels:
    """The labels of a mixture: by number, slice or array."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, index: Any) -> Any:
        """One label, or int64 in the shape of the index."""
        if not isinstance(index, slice | np.ndarray | list):
            number, image = self._mixture.place(index)
            return int(self._mixture.sources[number].labels[image])
        wanted = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index, np.int64)
        numbers, images = self._mixture.places(wanted)
        found = np.empty(wanted.shape, np.int64)
        for number, source in enumerate(self._mixture.sources):
            chosen = numbers == number
            found[chosen] = source.labels[images[chosen]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
