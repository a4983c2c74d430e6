"""A few of many images, drawn in the time and memory of the few, and many in the time and memory of one."""

from typing import Any, overload

import numpy as np

from selfsup.data.sampler import FeistelPermutation

_PURPOSE = 0x5EB5E7  # a third number in the key: the sampler's permutations have two, and a draw must not repeat them


class Drawn:
    """Numbers drawn without replacement, in the order of the draw; each is worked out when it is asked for.

    Args:
        length: how many there are to draw from, > 0.
        count: how many are drawn, 0 <= count <= length; all of them are in ascending order.
        seed: which ones; a smaller draw of the same seed is the beginning of a larger one, unless that is all.

    Attributes:
        name: what is drawn: draws of the same name are the same.
    """

    def __init__(self, length: int, count: int, *, seed: int = 0) -> None:
        self._permutation = None if count >= length else FeistelPermutation(length, (seed, 0, _PURPOSE))
        self._positions = range(min(count, length))
        self.name = f"{count} of {length}, seed {seed}"

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray: ...

    def __getitem__(self, index: Any) -> Any:
        """One number, or int64 in the shape of the index.

        Raises:
            IndexError: if fewer are drawn.
        """
        if isinstance(index, slice):
            chosen = self._positions[index]
            positions = np.arange(chosen.start, chosen.stop, chosen.step)
        elif isinstance(index, np.ndarray) and index.ndim:
            if index.size and not -len(self) <= index.min() <= index.max() < len(self):
                raise IndexError(f"index {index.min()} to {index.max()}, there are {len(self)} numbers")
            positions = np.where(index < 0, index + len(self), index)
        else:
            position = self._positions[int(index)]
            return position if self._permutation is None else self._permutation.at(position)
        return positions if self._permutation is None else self._permutation(positions)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


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
