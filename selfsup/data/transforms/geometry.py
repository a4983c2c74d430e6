"""Crop and resize.

Shrinking is antialiased as in Pillow, whose results torch's uint8 resampling reproduces to one level: the reference
pipelines of all papers but SimCLR's TensorFlow one do the same. OpenCV takes over where nothing shrinks.
"""

from dataclasses import KW_ONLY, dataclass
from math import exp, log, sqrt
from typing import Literal

import cv2
import numpy as np
import torch
from torch.nn import functional

from selfsup.data.transforms.base import check_choice, check_positive, check_range
from selfsup.errors import DataError
from selfsup.registry import TRANSFORMS

Interpolation = Literal["bilinear", "bicubic"]
INTERPOLATIONS = ("bilinear", "bicubic")


def resize(image: np.ndarray, height: int, width: int, *, interpolation: Interpolation = "bilinear") -> np.ndarray:
    """Resample an image, with a filter as wide as the shrinkage asks for.

    Args:
        image: uint8 (H, W, C), any strides, C up to 4.
        height: of the result, in pixels.
        width: of the result, in pixels.
        interpolation: the filter; bicubic with Pillow's coefficient of -0.5.

    Returns:
        uint8 (height, width, C).
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "bilinear" and image.shape[0] <= height and image.shape[1] <= width:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    # torch takes its uint8 path for images only when the batch stride, too, is that of a channels_last batch
    batch = torch.from_numpy(image[None].copy()).permute(0, 3, 1, 2)
    if image.shape[0] > height:  # rows first: that pass is the fast one, and torch alone would begin with columns
        batch = functional.interpolate(batch, (height, image.shape[1]), mode=interpolation, antialias=True)
    batch = functional.interpolate(batch, (height, width), mode=interpolation, antialias=True)
    return np.ascontiguousarray(batch[0].permute(1, 2, 0).numpy())


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a window of random area, shape and place, and resize it to a square.

    The area is uniform in ``scale``, the aspect ratio log-uniform in ``ratio``; a window that does not fit is drawn
    anew, and after ``attempts`` failures the largest central window of an allowed ratio is taken. These are
    torchvision's rules. SimCLR and BYOL use TensorFlow's ``sample_distorted_bounding_box``, whose windows have a
    uniform ratio and a uniform height instead; like every PyTorch port we keep one rule for all methods.

    Args:
        size: side of the result in pixels.
        scale: share of the image's area, within (0, 1].
        ratio: width over height.
        interpolation: 'bilinear' or 'bicubic'.
        attempts: windows to try.

    Raises:
        ConfigError: if an argument is out of range.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6; torchvision.transforms.RandomResizedCrop.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    _: KW_ONLY
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    attempts: int = 10

    def __post_init__(self) -> None:
        check_positive("size", self.size)
        check_range("scale", self.scale)
        check_range("ratio", self.ratio)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        check_positive("attempts", self.attempts)

    def window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw (top, left, height, width) of the window in an image of the given height and width."""
        smallest, largest = self.scale
        low, high = log(self.ratio[0]), log(self.ratio[1])
        for _ in range(self.attempts):
            area_draw, ratio_draw, top_draw, left_draw = rng.random(4).tolist()
            area = height * width * (smallest + (largest - smallest) * area_draw)
            ratio = exp(low + (high - low) * ratio_draw)
            w, h = round(sqrt(area * ratio)), round(sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(top_draw * (height - h + 1)), int(left_draw * (width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The resized window, (size, size, C)."""
        top, left, height, width = self.window(image.shape[0], image.shape[1], rng)
        window = image[top : top + height, left : left + width]
        return resize(window, self.size, self.size, interpolation=self.interpolation)


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Resize:
    """Resize to a short side, keeping the shape of the image, or to a height and a width.

    Args:
        size: short side in pixels, or (height, width).
        interpolation: 'bilinear' or 'bicubic'.

    Raises:
        ConfigError: if an argument is out of range.
    """

    size: int | tuple[int, int]
    _: KW_ONLY
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_positive("size", self.size if isinstance(self.size, int) else min(self.size))
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The resized image."""
        height, width = image.shape[:2]
        if not isinstance(self.size, int):
            height, width = self.size
        elif height < width:
            height, width = self.size, int(self.size * width / height)
        else:
            height, width = int(self.size * height / width), self.size
        return resize(image, height, width, interpolation=self.interpolation)


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class CenterCrop:
    """Cut out the central square.

    Args:
        size: side in pixels, no larger than the images.

    Raises:
        ConfigError: if ``size`` is not positive.
        DataError: when called, if the image is smaller than the square.
    """

    size: int

    def __post_init__(self) -> None:
        check_positive("size", self.size)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The central square, (size, size, C)."""
        height, width = _room_around(self, image, self.size)
        top, left = round(height / 2), round(width / 2)
        return image[top : top + self.size, left : left + self.size]


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandomCrop:
    """Cut out a square at a random place, every place being equally likely.

    Args:
        size: side in pixels, no larger than the images.

    Raises:
        ConfigError: if ``size`` is not positive.
        DataError: when called, if the image is smaller than the square.

    Source: torchvision.transforms.RandomCrop, as in google-research/big_transfer bit_pytorch/train.py.
    """

    size: int

    def __post_init__(self) -> None:
        check_positive("size", self.size)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The square, (size, size, C)."""
        height, width = _room_around(self, image, self.size)
        top, left = int(rng.integers(height + 1)), int(rng.integers(width + 1))
        return image[top : top + self.size, left : left + self.size]


def _room_around(transform: object, image: np.ndarray, size: int) -> tuple[int, int]:
    """How much higher and wider than a square of side ``size`` an image is, in pixels.

    Raises:
        DataError: if it is smaller.
    """
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise DataError.at(
            type(transform).__name__,
            f"the image must be at least {size} x {size}, got {width} x {height}",
            expected=f"put Resize({size}) before it",
        )
    return height - size, width - size
