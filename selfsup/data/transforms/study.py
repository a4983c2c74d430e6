"""Cutout, noise and edges: operators that SimCLR tries in its study of augmentations and leaves out of its pipeline.

The paper shows each of them in its figure 4 and gives no numbers, and google-research/simclr data_util.py has none of
them; every default that is our choice is marked so.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import cv2
import numpy as np

from selfsup.data.transforms.base import check_choice, check_positive, check_probability, check_range
from selfsup.errors import ConfigError, require
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Cutout:
    """Cover a square, centered on any pixel with equal chance; what lies beyond the border is lost.

    Args:
        size: side of the square as a share of the image's short side, in (0, 1]. 0.5 is the 16 of 32 pixels that the
            paper of Cutout takes for CIFAR-10.
        p: probability, in [0, 1].
        fill: color of the square, three numbers in [0, 255]. The paper of Cutout fills with the mean of the data,
            which the middle gray, our default, stands for.

    Raises:
        ConfigError: if an argument is out of range.

    Source: DeVries and Taylor 2017, arXiv:1708.04552, section 3.2; Chen et al. 2020, arXiv:2002.05709, section 3.1.
    """

    size: float = 0.5
    p: float = 1.0
    _: KW_ONLY
    fill: Sequence[int] = (128, 128, 128)

    def __post_init__(self) -> None:
        check_probability(self.p)
        require(0 < self.size <= 1, "size", "must be in (0, 1]", got=self.size)
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise ConfigError.at("fill", "must be three numbers in [0, 255]", got=self.fill)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The covered image, or the image itself."""
        chance, down, across = rng.random(3).tolist()
        if chance >= self.p:
            return image
        height, width = image.shape[:2]
        side = max(1, round(self.size * min(height, width)))
        top, left = int(down * height) - side // 2, int(across * width) - side // 2
        covered = image.copy()
        covered[max(0, top) : top + side, max(0, left) : left + side] = self.fill
        return covered


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class GaussianNoise:
    """Add noise, independent for every pixel and channel, of a random strength.

    Args:
        sigma: range of the standard deviation, as a share of the full range of values, drawn uniformly for every
            image; our choice: from hardly visible to strong.
        p: probability, in [0, 1]. Half of the images is ours too; it is what table 3 of the paper has, by its chance
            level.

    Raises:
        ConfigError: if an argument is out of range.

    Source: Chen et al. 2020, arXiv:2002.05709, section 3.1 and table 3.
    """

    sigma: tuple[float, float] = (0.02, 0.2)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma)
        check_probability(self.p)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The noisy image, or the image itself."""
        chance, strength = rng.random(2).tolist()
        if chance >= self.p:
            return image
        sigma = 255 * (self.sigma[0] + (self.sigma[1] - self.sigma[0]) * strength)
        values = (sigma * _quantiles()).astype(np.float32)
        noise = values.take(rng.integers(0, len(values), image.shape, np.uint16))
        return cv2.add(image, noise, dtype=cv2.CV_8U)  # rounds and clips


@cache
def _quantiles() -> np.ndarray:
    """65,536 numbers that stand for equal shares of the standard Gaussian, up to 4.3 deviations away.

    Drawing from them takes a quarter of the time of ``rng.standard_normal``, which alone would cost more than all the
    rest of a pipeline.
    """
    inverse = NormalDist().inv_cdf
    return np.array([inverse((number + 0.5) / 65_536) for number in range(65_536)])


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Sobel:
    """Replace the image by the strength of its edges: the length of the Sobel gradient, clipped to [0, 255].

    The border is mirrored about its outermost pixels, as in ``tf.image.sobel_edges``.

    Args:
        p: probability, in [0, 1]. Half of the images is our choice; it is what table 3 of the paper has, by its chance
            level.
        channels: 'luma' for the edges of the gray image in all three channels, our choice, or 'each' for those of
            every channel by itself.
        gain: brightness of the edges, > 0. With 1, our choice, a straight edge is as bright as the step it marks is
            high; the filters' plain sums are four times as bright.

    Raises:
        ConfigError: if an argument is out of range.

    Source: Chen et al. 2020, arXiv:2002.05709, section 3.1 and table 3.
    """

    p: float = 0.5
    _: KW_ONLY
    channels: Literal["luma", "each"] = "luma"
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.p)
        check_positive("gain", self.gain)
        check_choice("channels", self.channels, ("luma", "each"))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The edges, or the image itself."""
        if rng.random() >= self.p:
            return image
        planes = image if self.channels == "each" else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        across = cv2.Sobel(planes, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REFLECT_101)
        down = cv2.Sobel(planes, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REFLECT_101)
        # exact up to the root; cv2.magnitude is not, and rounds as the arrays happen to lie in memory
        edges = cv2.convertScaleAbs(np.sqrt(across * across + down * down), alpha=self.gain / 4)
        return edges if self.channels == "each" else cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)
