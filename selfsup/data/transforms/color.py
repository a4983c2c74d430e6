"""Brightness, contrast, saturation, hue, gray and solarize, each step clipped to [0, 255] as in the papers' code."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import cv2
import numpy as np

from selfsup.data.transforms.base import check_choice, check_probability
from selfsup.errors import ConfigError, require
from selfsup.registry import TRANSFORMS

GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma, as Pillow, OpenCV and torchvision
TRUNCATE = -0.499  # Pillow and torchvision's uint8 arithmetic drop the fraction where cv2.transform rounds
JITTERS = ("brightness", "contrast", "saturation", "hue")


def gray_mean(image: np.ndarray) -> float:
    """Mean luma of a uint8 (H, W, 3) image, in [0, 255]."""
    red, green, blue, _ = cv2.mean(image)
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply by ``factor`` >= 0; 1 changes nothing."""
    return _per_channel(image, factor, TRUNCATE)


def add_brightness(image: np.ndarray, offset: float) -> np.ndarray:
    """Add ``offset`` in [-1, 1] of the full range; 0 changes nothing."""
    return _per_channel(image, 1.0, 255 * offset)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Move away from (or towards) the image's mean luma by ``factor`` >= 0; 1 changes nothing."""
    return _per_channel(image, factor, (1 - factor) * round(gray_mean(image)) + TRUNCATE)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Move every pixel away from (or towards) its own luma by ``factor`` >= 0; 1 changes nothing."""
    r, g, b = ((1 - factor) * weight for weight in GRAY)
    matrix = np.array(
        [[r + factor, g, b, TRUNCATE], [r, g + factor, b, TRUNCATE], [r, g, b + factor, TRUNCATE]], np.float32
    )
    return cv2.transform(image, matrix)


def shift_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by ``shift`` in [-0.5, 0.5] of the color circle, in steps of 1/256."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    row = np.zeros(3 * image.shape[1], np.uint8)
    row[::3] = round(shift * 256) % 256
    flat = hsv.reshape(image.shape[0], -1)
    np.add(flat, row, out=flat)  # wraps at 256, which is the full circle
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Luma in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _per_channel(image: np.ndarray, gain: float, offset: float) -> np.ndarray:
    matrix = np.array([[gain, 0, 0, offset], [0, gain, 0, offset], [0, 0, gain, offset]], np.float32)
    return cv2.transform(image, matrix)


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue by random amounts, all four or none.

    Factors are uniform in [max(0, 1 - x), 1 + x], the hue shift in [-hue, hue]. A strength of 0 leaves its step out.
    The result is clipped after each step. Contrast turns about the mean luma as in torchvision; TensorFlow, hence
    the code of SimCLR and BYOL, turns about the mean of each channel. Hue moves in steps of 1/256 of the circle.

    Args:
        brightness: strength x, >= 0.
        contrast: strength x, >= 0.
        saturation: strength x, >= 0.
        hue: largest shift, in [0, 0.5] of the color circle.
        p: probability of doing anything, in [0, 1].
        order: 'random', or the four names in the order wanted.
        brightness_mode: 'multiplicative' (torchvision, SimCLR v2) or 'additive' (SimCLR v1, BYOL), which adds a
            number uniform in [-x, x] of the full range.

    Raises:
        ConfigError: if an argument is out of range.

    Source: Chen et al. 2020, arXiv:2002.05709, appendix A; torchvision.transforms.ColorJitter.
    """

    brightness: float
    contrast: float
    _: KW_ONLY
    saturation: float
    hue: float
    p: float = 0.8
    order: Literal["random"] | tuple[str, ...] = "random"
    brightness_mode: Literal["multiplicative", "additive"] = "multiplicative"

    def __post_init__(self) -> None:
        check_probability(self.p)
        check_choice("brightness_mode", self.brightness_mode, ("multiplicative", "additive"))
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ConfigError.at(name, "must be >= 0", got=getattr(self, name))
        require(0 <= self.hue <= 0.5, "hue", "must be in [0, 0.5]", got=self.hue)
        if self.order != "random" and sorted(self.order) != sorted(JITTERS):
            raise ConfigError.at("order", f"must be 'random' or an order of {JITTERS}", got=self.order)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image with other colors, or the image itself."""
        draws = rng.random(9).tolist()
        if draws[0] >= self.p:
            return image
        amounts = dict(zip(JITTERS, draws[1:5], strict=True))
        ranks = dict(zip(JITTERS, draws[5:], strict=True))
        for name in sorted(JITTERS, key=ranks.__getitem__) if self.order == "random" else self.order:
            image = self._step(name, amounts[name], image)
        return image

    def _step(self, name: str, draw: float, image: np.ndarray) -> np.ndarray:
        """Do one of the JITTERS, with a draw in [0, 1) for its amount."""
        strength: float = getattr(self, name)
        if strength == 0:
            return image
        if name == "hue":
            return shift_hue(image, strength * (2 * draw - 1))
        if name == "brightness" and self.brightness_mode == "additive":
            return add_brightness(image, strength * (2 * draw - 1))
        low = max(0.0, 1 - strength)
        return _MULTIPLY[name](image, low + (1 + strength - low) * draw)


_MULTIPLY: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
}


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandomGray:
    """Replace the colors by their luma with probability ``p``; the result keeps three channels.

    Args:
        p: probability, in [0, 1]; 1 is the color drop of SimCLR's study.

    Raises:
        ConfigError: if ``p`` is out of range.
    """

    p: float = 0.2

    def __post_init__(self) -> None:
        check_probability(self.p)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The gray image, or the image itself."""
        return to_gray(image) if rng.random() < self.p else image


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Solarize:
    """Invert every value at or above a threshold, with probability ``p``.

    Args:
        p: probability, in [0, 1].
        threshold: lowest value that is inverted, in [0, 256].

    Raises:
        ConfigError: if an argument is out of range.

    Source: Grill et al. 2020, arXiv:2006.07733, appendix B.
    """

    p: float = 0.2
    threshold: int = 128  # 0.5 of the full range in BYOL's code: 127 is below it, 128 above

    def __post_init__(self) -> None:
        check_probability(self.p)
        require(0 <= self.threshold <= 256, "threshold", "must be in [0, 256]", got=self.threshold)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The solarized image, or the image itself."""
        if rng.random() >= self.p:
            return image
        values = np.arange(256, dtype=np.uint8)
        return cv2.LUT(image, np.where(values < self.threshold, values, 255 - values))
