"""Fewer levels of brightness."""

from dataclasses import dataclass

import numpy as np

from selfsup.data.transforms.base import check_probability
from selfsup.errors import require
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Posterize:
    """Keep the upper bits of every pixel, with probability ``p``.

    Args:
        bits: how many are kept, 1 to 8.
        p: probability, in [0, 1].

    Raises:
        ConfigError: if an argument is out of range.
    """

    bits: int = 4
    p: float = 0.2

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 8, "bits", "must be in [1, 8]", got=self.bits)
        check_probability(self.p)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image with fewer levels, or the image itself."""
        if rng.random() >= self.p:
            return image
        return image & np.uint8(256 - 2 ** (8 - self.bits))
