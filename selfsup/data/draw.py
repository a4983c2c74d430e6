"""A few of many images, drawn in the time and memory of the few."""

import numpy as np

from selfsup.data.sampler import FeistelPermutation

_PURPOSE = 0x5EB5E7  # a third number in the key: the sampler's permutations have two, and a draw must not repeat them


def draw(length: int, count: int, *, seed: int = 0) -> np.ndarray:
    """Numbers drawn without replacement: a billion images cost no more than a thousand.

    Args:
        length: how many there are to draw from.
        count: how many are drawn, 0 <= count <= length.
        seed: which ones; a smaller draw of the same seed is contained in a larger one.

    Returns:
        int64, shape (count,), ascending.
    """
    if count >= length:
        return np.arange(length)
    return np.sort(FeistelPermutation(length, (seed, 0, _PURPOSE))(np.arange(count)))
