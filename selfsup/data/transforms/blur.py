"""Gaussian blur with the kernel sizes of the papers."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import ceil
from typing import Literal

import cv2
import numpy as np

from selfsup.data.transforms.base import check_choice, check_probability, check_range
from selfsup.registry import TRANSFORMS

REACH = 3.0  # standard deviations kept of an untruncated kernel: 99.7 % of its mass, under half a level
INVISIBLE = 0.25  # below this sigma no pixel changes by half a level: a neighbor's weight is exp(-8)

RADIUS: dict[str, Callable[[int], int | None]] = {
    "full": lambda height: None,
    "simclr": lambda height: height // 10 // 2,
    "byol": lambda height: int(height / 10 / 2),
}
"""Largest radius in pixels of each paper's kernel, from the height of the image."""


def gaussian_kernel(radius: int, sigma: float) -> np.ndarray:
    """The 2 * radius + 1 weights of a Gaussian, summing to 1."""
    return cv2.getGaussianKernel(2 * radius + 1, sigma)[:, 0]


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class GaussianBlur:
    """Blur by a Gaussian of random width, with probability ``p``.

    The border repeats the outermost pixels, as in Pillow; the TensorFlow code of SimCLR and BYOL takes black there.

    Args:
        sigma: range of the standard deviation in pixels, drawn uniformly for every image (SimCLR's TensorFlow code
            draws it once per batch and view).
        p: probability, in [0, 1].
        kernel: where the Gaussian ends: 'full' nowhere that matters (Pillow: SwAV, MoCo v2, SimSiam), 'simclr' after
            int((H // 10) / 2) pixels, 'byol' after int((H / 10) / 2) pixels, H being the height of the image. It
            shows at 96 px, where 9 taps cut a sigma of 2 off at twice its width.

    Raises:
        ConfigError: if an argument is out of range.

    Source: google-research/simclr data_util.py; deepmind-research byol augmentations.py; facebookresearch/swav.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5
    _: KW_ONLY
    kernel: Literal["full", "simclr", "byol"] = "full"

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma)
        check_probability(self.p)
        check_choice("kernel", self.kernel, tuple(RADIUS))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The blurred image, or the image itself."""
        chance, width = rng.random(2).tolist()
        if chance >= self.p:
            return image
        return self.blur(image, self.sigma[0] + (self.sigma[1] - self.sigma[0]) * width)

    def blur(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Blur by a Gaussian of standard deviation ``sigma`` > 0, in pixels."""
        limit = RADIUS[self.kernel](image.shape[0])
        radius = ceil(REACH * sigma) if limit is None else min(limit, ceil(REACH * sigma))
        if radius == 0 or sigma < INVISIBLE:
            return image
        kernel = gaussian_kernel(radius, sigma)
        # sepFilter2D at float weights takes half the time of cv2.GaussianBlur and rounds once
        return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
