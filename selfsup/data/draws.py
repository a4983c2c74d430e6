"""Numbers of chosen images: drawn, drawn again, or all but some; half of a billion take no memory."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsup.data.sampler import FeistelPermutation
from selfsup.errors import ConfigError, DataError

_LARGE = 1 << 48  # positions that a draw with replacement is taken from
_PURPOSE = 0x5EB5E7  # a third number in the key: the sampler's permutations have two, and a draw must not repeat them


class Numbers:
    """Numbers that are worked out when they are asked for: by number, slice or array.

    Args:
        length: how many there are.
        name: two with the same name hold the same numbers.
    """

    def __init__(self, length: int, name: str) -> None:
        self._length = length
        self.name = name

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """One number, or int64 in the shape of the index.

        Raises:
            IndexError: if there are fewer.
        """
        if isinstance(index, slice):
            return self._at(np.arange(self._length)[index])
        if isinstance(index, np.ndarray) and index.ndim:
            if index.size and not -self._length <= index.min() <= index.max() < self._length:
                raise IndexError(f"index {index.min()} to {index.max()}, there are {self._length} numbers")
            return self._at(np.where(index < 0, index + self._length, index))
        return self._one(range(self._length)[int(index)])

    def _at(self, positions: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _one(self, position: int) -> int:
        return int(self._at(np.array([position]))[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class Drawn(Numbers):
    """Numbers drawn without replacement, in the order of the draw.

    Args:
        length: how many there are to draw from, > 0.
        count: how many are drawn, 0 <= count <= length; all of them are in ascending order.
        seed: which ones; a smaller draw of the same seed is the beginning of a larger one, unless that is all.
    """

    def __init__(self, length: int, count: int, *, seed: int = 0) -> None:
        super().__init__(min(count, length), f"{count} of {length}, seed {seed}")
        self._permutation = None if count >= length else FeistelPermutation(length, (seed, 0, _PURPOSE))

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return positions if self._permutation is None else self._permutation(positions)

    def _one(self, position: int) -> int:
        return position if self._permutation is None else self._permutation.at(position)


class DrawnAgain(Numbers):
    """Numbers drawn with replacement, worked out one by one.

    Args:
        length: how many there are to draw from, > 0.
        count: how many are drawn; may be more.
        seed: which ones.
    """

    def __init__(self, length: int, count: int, *, seed: int = 0) -> None:
        super().__init__(count, f"{count} of {length} with replacement, seed {seed}")
        self._from = length
        self._permutation = FeistelPermutation(_LARGE, (seed, 1, _PURPOSE))

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return self._permutation(positions) % self._from

    def _one(self, position: int) -> int:
        return self._permutation.at(position) % self._from


class AllBut(Numbers):
    """The numbers below ``length`` without some, ascending, in the memory of those.

    Args:
        length: how many there are with those.
        without: the numbers that are left out, in any order.

    Raises:
        ConfigError: if one of them is not below ``length``.
    """

    def __init__(self, length: int, without: Sequence[int] | np.ndarray) -> None:
        self.without = np.unique(np.asarray(without, np.int64))
        if self.without.size and not 0 <= self.without[0] <= self.without[-1] < length:
            raise ConfigError.at("without", f"must lie in [0, {length}), got {self.without[0]} to {self.without[-1]}")
        name = hashlib.blake2b(self.without.tobytes(), digest_size=16).hexdigest()
        super().__init__(length - len(self.without), f"{length} without {name}")
        self._kept_before = self.without - np.arange(len(self.without))

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return positions + np.searchsorted(self._kept_before, positions, side="right")


def draw_per_class(labels: Any, *, count: int | None = None, share: float | None = None, seed: int = 0) -> np.ndarray:
    """As many images of every class, or the same share of each, at least one.

    A smaller draw of the same seed is contained in a larger one. Images without a label are never drawn.

    Args:
        labels: one a image, int64 (N,).
        count: of each class, >= 1.
        share: of each class, in (0, 1]; the other of ``count``.
        seed: which ones.

    Returns:
        int64, ascending.

    Raises:
        DataError: if a class has fewer than ``count`` images.
    """
    labels = np.asarray(labels)
    chosen = []
    for label in np.unique(labels[labels >= 0]).tolist():
        members = np.flatnonzero(labels == label)
        number = count if count is not None else max(1, round(len(members) * (share or 0)))
        if number > len(members):
            raise DataError.at("per_class", f"class {label} has {len(members)} labelled images", got=number)
        order = np.random.default_rng(np.random.SeedSequence((seed, label, _PURPOSE))).permutation(members)
        chosen.append(order[:number])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def draw(length: int, count: int, *, seed: int = 0) -> np.ndarray:
    """Numbers drawn without replacement: a billion images cost no more than a thousand.

    Args:
        length: how many there are to draw from.
        count: how many are drawn, 0 <= count <= length.
        seed: which ones; a smaller draw of the same seed is contained in a larger one.

    Returns:
        int64, shape (count,), ascending.
    """
    return np.sort(Drawn(length, count, seed=seed)[:])
