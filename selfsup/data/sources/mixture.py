"""Several sources as one, each with its share of the images that are seen."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data.sampler import FeistelPermutation
from selfsup.data.sources.source import ImageSource, group_number, join_classes, single_labels
from selfsup.errors import ConfigError
from selfsup.registry import DATASETS

_PURPOSE = 0x313C  # a third number in the key, so that permutations of the sampler are not repeated


@DATASETS.register_module()
class Mixture:
    """Sources that are seen in given shares.

    A pass is as long as it takes for every image to be seen once: one source is seen once, the others are repeated,
    wholly and then in part, to fill their shares. Repeats of an image have its name, and so lie on one side of a
    split.

    Sources that lie in shards may be mixed shard by shard, so that a few are read at a time
    (``train_dataloader.shards_at_once``): the shares then hold on average, and repeats are of whole shards.

    Images of one group lie on one side of a split, whatever their source.

    Args:
        datasets: the sources by name, built or as dicts.
        weights: the share of each, > 0, by the same names; their sum does not matter. None gives each its size.
        seed: which images of a source are repeated once more than others.
        by_shard: mix shard by shard; None does so where shards have to be fetched.

    Attributes:
        counts: how many places of a pass each source has, in the order of ``datasets``.
        classes: of all sources, joined by name; None unless each has some, and one label an image.
        shard_starts: the number of the first image of each shard, repeats counted, if they are mixed by shard; or None.
        most_shards_at_once: the least that a source says of itself; None if none does.

    Raises:
        ConfigError: if there is no source, weights do not fit the sources, or one has no shards to mix.
    """

    def __init__(
        self,
        datasets: Mapping[str, ImageSource | dict[str, Any]],
        weights: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        by_shard: bool | None = None,
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
        keys: list[tuple[int, ...]] = [(seed, number, _PURPOSE) for number in range(len(sources))]
        most = [each for source in sources if (each := getattr(source, "most_shards_at_once", None)) is not None]
        self.most_shards_at_once: int | None = min(most, default=None)
        self.shard_starts: np.ndarray | None = None
        self._shards: list[tuple[int, int]] = []
        self._orders: list[FeistelPermutation | _Rotated]
        if bool(most) if by_shard is None else by_shard:
            self._orders = self._by_shard(sources, keys)
        else:
            self._orders = [FeistelPermutation(size, key) for size, key in zip(sizes, keys, strict=True)]

    def _by_shard(self, sources: list[Any], keys: list[tuple[int, ...]]) -> "list[FeistelPermutation | _Rotated]":
        """Orders that begin with one shard of a source and take the others as they follow."""
        orders: list[FeistelPermutation | _Rotated] = []
        ends = [np.zeros(1, np.int64)]
        for number, (source, count) in enumerate(zip(sources, self.counts, strict=True)):
            starts = getattr(source, "shard_starts", None)
            if starts is None:
                raise ConfigError.at("by_shard", "a source has no shards", got=self.names[number])
            first = FeistelPermutation(len(starts) - 1, keys[number]).at(0)
            orders.append(_Rotated(len(source), int(starts[first])))
            passes = -(-count // len(source))
            upto = np.minimum(np.cumsum(np.tile(np.roll(np.diff(starts), -first), passes)), count)
            there = np.diff(upto, prepend=0) > 0
            ends.append(upto[there] + int(self._starts[number]))
            order = np.tile(np.roll(np.arange(len(starts) - 1), -first), passes)[there]
            self._shards += [(number, shard) for shard in order.tolist()]
        self.shard_starts = np.concatenate(ends)
        return orders

    def prefetch(self, shards: Sequence[int]) -> None:
        """Tell sources whose shards have to be fetched which will be needed soon."""
        for number, source in enumerate(self.sources):
            wanted = [self._shards[shard][1] for shard in shards if self._shards[shard][0] == number]
            if wanted and getattr(source, "prefetch", None) is not None:
                source.prefetch(wanted)

    def served(self) -> tuple[int, int] | None:
        """Reads of the sources whose shards are fetched, and how many waited; None if there is none."""
        said = [source.served() for source in self.sources if hasattr(source, "served")]
        told = [each for each in said if each is not None]
        return (sum(reads for reads, _ in told), sum(waited for _, waited in told)) if told else None

    @property
    def labels(self) -> "MixtureNumbers | None":
        """Positions in ``classes``; None without classes."""
        return None if self.classes is None else MixtureNumbers(self, [source.labels for source in self.sources])

    @property
    def groups(self) -> "MixtureNumbers | None":
        """The groups of all sources; None if none has any."""
        each = [getattr(source, "groups", None) for source in self.sources]
        if all(groups is None for groups in each):
            return None
        whole = [
            _Alone(source) if groups is None else groups for source, groups in zip(self.sources, each, strict=True)
        ]
        return MixtureNumbers(self, whole)

    @cached_property
    def digest(self) -> str | None:
        """What tells this mixture from others; None where a source cannot tell."""
        digests = [getattr(source, "digest", None) for source in self.sources]
        if None in digests:
            return None
        kind = [] if self.shard_starts is None else ["by shard"]
        told = json.dumps([digests, self.counts, self.seed, *kind])
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

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


class _Rotated:
    """All images of a source in their order, from one of them on."""

    def __init__(self, length: int, first: int) -> None:
        self.length = length
        self._first = first

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return (positions + self._first) % self.length

    def at(self, position: int) -> int:
        return (position + self._first) % self.length


class _Alone:
    """For each image of a source a group of its own: a number that follows from its name."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, np.ndarray):
            return group_number(self._source.name(index))
        return np.array([group_number(self._source.name(image)) for image in index.tolist()], np.int64)


class MixtureNumbers:
    """A number of each image of a mixture: by number, slice or array.

    Args:
        mixture: whose images they are.
        of_sources: the numbers of each source's images.
    """

    def __init__(self, mixture: Mixture, of_sources: Sequence[Any]) -> None:
        self._mixture = mixture
        self._of_sources = of_sources

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, index: Any) -> Any:
        """One number, or int64 in the shape of the index."""
        if not isinstance(index, slice | np.ndarray | list):
            number, image = self._mixture.place(index)
            return int(self._of_sources[number][image])
        wanted = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index, np.int64)
        numbers, images = self._mixture.places(wanted)
        found = np.empty(wanted.shape, np.int64)
        for number, each in enumerate(self._of_sources):
            chosen = numbers == number
            found[chosen] = each[images[chosen]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
