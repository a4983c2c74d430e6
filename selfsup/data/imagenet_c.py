"""The fifteen corruptions of ImageNet-C.

They are written from its published parameters and reproduce strengths, not pixels: it blurs motion with ImageMagick and
filters with scikit-image, and its random numbers are not seeded by image. Lengths in pixels are meant for images whose
shorter side has 224 and are scaled with it; the quality of JPEG and the share that pixelation keeps are not lengths.
Frost, for which ImageNet-C cuts out of six photographs, is drawn from noise here, so that its accuracy cannot be
compared with published ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from selfsup.data.corruption import Jpeg, scale_of
from selfsup.data.transforms.base import check_choice
from selfsup.errors import require
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class ImageNetC:
    """One of the fifteen corruptions of ImageNet-C.

    Args:
        kind: of ``IMAGENET_C``.
        severity: 1 to 5.

    Raises:
        ConfigError: if there is no such kind or severity.

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261; parameters of hendrycks/robustness, imagenet_c.
    """

    kind: str
    severity: int = 3

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, IMAGENET_C)
        require(self.severity in (1, 2, 3, 4, 5), "severity", "must be 1 to 5", got=self.severity)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The corrupted image, of the same size."""
        corrupt, parameters = _KINDS[self.kind]
        found = corrupt(image.astype(np.float32) / 255, rng, parameters[self.severity - 1])
        return (np.clip(found, 0, 1) * 255 + 1e-3).astype(np.uint8)  # cut off, not rounded, as the published ones are


def _gaussian(
    image: np.ndarray, sigma: float, *, truncate: float = 4.0, border: int = cv2.BORDER_REPLICATE
) -> np.ndarray:
    side = 2 * int(truncate * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=border) if side > 1 else image


def _gaussian_noise(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return image + rng.normal(0, sigma, image.shape)


def _shot_noise(image: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    return rng.poisson(image * photons) / photons


def _impulse_noise(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    chance = rng.random(image.shape)
    return np.where(chance < share / 2, 0, np.where(chance < share, 1, image))


def _defocus_blur(image: np.ndarray, rng: np.random.Generator, given: tuple[float, float]) -> np.ndarray:
    radius, edge = given[0] * scale_of(image), given[1]
    reach = math.ceil(max(8 * scale_of(image), radius))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (down**2 + across**2 <= max(radius, 0.5) ** 2).astype(np.float32)
    side = 3 if given[0] <= 8 else 5
    return cv2.filter2D(image, -1, cv2.GaussianBlur(disk / disk.sum(), (side, side), edge))


def _glass_blur(image: np.ndarray, rng: np.random.Generator, given: tuple[float, int, int]) -> np.ndarray:
    sigma, reach, rounds = given[0] * scale_of(image), max(1, round(given[1] * scale_of(image))), given[2]
    blurred = _gaussian(image, sigma)
    height, width = image.shape[:2]
    if min(height, width) <= 2 * reach:
        return blurred
    place = list(range(height * width))
    for _ in range(rounds):  # each pixel changes places with a near one, from the lower right to the upper left
        rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
        own = (np.minimum(rows, height - 1)[:, None] * width + np.minimum(columns, width - 1)).ravel()
        shift = rng.integers(-reach, reach, (len(own), 2))
        other = own + shift[:, 0] * width + shift[:, 1]
        for one, two in zip(own.tolist(), other.tolist(), strict=True):
            place[one], place[two] = place[two], place[one]
    return _gaussian(blurred.reshape(height * width, -1)[place].reshape(image.shape), sigma)


def _motion(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """The mean along a line from each pixel, weighted by half a Gaussian, as ImageMagick does it."""
    width = 2 * max(1, round(radius)) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * max(sigma, 1e-3) ** 2))
    across = np.ceil(steps * math.cos(math.radians(angle)) - 0.5).astype(int)
    down = np.ceil(steps * math.sin(math.radians(angle)) - 0.5).astype(int)
    kernel = np.zeros((2 * width + 1, 2 * width + 1), np.float32)
    np.add.at(kernel, (width + down, width + across), weights / weights.sum())
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _motion_blur(image: np.ndarray, rng: np.random.Generator, given: tuple[float, float]) -> np.ndarray:
    return _motion(image, given[0] * scale_of(image), given[1] * scale_of(image), rng.uniform(-45, 45))


def _zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of an image, enlarged to the whole."""
    height, width = image.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    return cv2.resize(image[top : top + rows, left : left + columns], (width, height), interpolation=cv2.INTER_LINEAR)


def _zoom_blur(image: np.ndarray, rng: np.random.Generator, factors: tuple[float, float]) -> np.ndarray:
    zooms = np.arange(1, *factors)
    return (image + sum(_zoomed(image, zoom) for zoom in zooms.tolist())) / (len(zooms) + 1)


def _snow(image: np.ndarray, rng: np.random.Generator, given: tuple[float, ...]) -> np.ndarray:
    mean, spread, zoom, threshold, radius, sigma, kept = given
    scale = scale_of(image)
    flakes = _zoomed(rng.normal(mean, spread, image.shape[:2]).astype(np.float32), max(1.0, zoom * scale))
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = _motion(flakes, radius * scale, sigma * scale, rng.uniform(-135, -45))[..., None]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return kept * image + (1 - kept) * np.maximum(image, gray * 1.5 + 0.5) + flakes + flakes[::-1, ::-1]


def _frost(image: np.ndarray, rng: np.random.Generator, given: tuple[float, float]) -> np.ndarray:
    """Ice that is drawn: crystals are ridges of smooth noise, denser in some places, bluish white."""
    height, width = image.shape[:2]
    ridges = np.zeros((height, width), np.float32)
    for octave in range(4):
        noise = _gaussian(
            rng.normal(size=(height, width)).astype(np.float32), max(0.5, 12 * scale_of(image) / 2**octave)
        )
        ridges += (1 - np.minimum(1, np.abs(noise) / (noise.std() + 1e-6))) ** 2 / 2**octave
    dense = _plasma(rng, max(height, width), 2)[:height, :width]
    ice = np.clip(0.25 + 0.5 * ridges * dense + 0.25 * dense, 0, 1)
    return given[0] * image + given[1] * ice[..., None] * np.array([0.86, 0.93, 1.0], np.float32)


def _plasma(rng: np.random.Generator, side: int, decay: float) -> np.ndarray:
    """Clouds by the diamond-square algorithm, in [0, 1], of a power of two that is no smaller than ``side``."""
    size = 1 << math.ceil(math.log2(max(side, 2)))
    clouds = np.zeros((size, size))
    step, strength = size, 100.0

    def displaced(total: np.ndarray) -> np.ndarray:
        return total / 4 + strength * rng.uniform(-strength, strength, total.shape)

    while step >= 2:
        half = step // 2
        corners = clouds[::step, ::step]
        rows = corners + np.roll(corners, -1, axis=0)
        clouds[half::step, half::step] = displaced(rows + np.roll(rows, -1, axis=1))
        middles = clouds[half::step, half::step]
        corners = clouds[::step, ::step]
        beside = corners + np.roll(corners, -1, axis=1)
        clouds[::step, half::step] = displaced(middles + np.roll(middles, 1, axis=0) + beside)
        beside = corners + np.roll(corners, -1, axis=0)
        clouds[half::step, ::step] = displaced(middles + np.roll(middles, 1, axis=1) + beside)
        step, strength = half, strength / decay
    clouds -= clouds.min()
    return clouds / clouds.max()


def _fog(image: np.ndarray, rng: np.random.Generator, given: tuple[float, float]) -> np.ndarray:
    height, width = image.shape[:2]
    most, strength = float(image.max()), given[0]
    clouds = _plasma(rng, max(height, width), given[1])[:height, :width, None]
    return (image + strength * clouds) * most / (most + strength)


def _brightness(image: np.ndarray, rng: np.random.Generator, more: float) -> np.ndarray:
    """The value of HSV, the greatest of the three channels, is raised; hue and saturation stay."""
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(1, value + more)
    return np.where(value > 0, image * (raised / np.maximum(value, 1e-6)), raised)


def _contrast(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    means = image.mean(axis=(0, 1), keepdims=True)
    return (image - means) * share + means


def _elastic_transform(image: np.ndarray, rng: np.random.Generator, given: tuple[float, float, float]) -> np.ndarray:
    strength, smooth, corners = (244 * share * scale_of(image) for share in given)  # 244 is the published number
    height, width = image.shape[:2]
    center, reach = np.array([height // 2, width // 2], np.float32), min(height, width) // 3
    points = np.array([center + reach, [center[0] + reach, center[1] - reach], center - reach], np.float32)
    moved = points + rng.uniform(-corners, corners, points.shape).astype(np.float32)
    affine = cv2.getAffineTransform(points, moved)
    image = cv2.warpAffine(image, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    shifts = [strength * _smooth(rng.uniform(-1, 1, (height, width)).astype(np.float32), smooth) for _ in range(2)]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(image, columns + shifts[0], rows + shifts[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _smooth(noise: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian that reaches three deviations, with a mirrored border, however large it is against the image."""
    for axis in (0, 1):
        noise = np.moveaxis(_reflecting(noise.shape[axis], sigma) @ np.moveaxis(noise, axis, 0), 0, axis)
    return noise


@lru_cache(16)
def _reflecting(length: int, sigma: float) -> np.ndarray:
    """The matrix of a Gaussian along an axis, float32 (length, length)."""
    reach = int(3 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets**2) / (2 * max(sigma, 1e-6) ** 2))
    places = (np.arange(length)[:, None] + offsets) % (2 * length)
    places = np.where(places < length, places, 2 * length - 1 - places)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None].repeat(len(offsets), 1), places), weights / weights.sum())
    return matrix.astype(np.float32)


def _pixelate(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, int(width * share)), max(1, int(height * share))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _jpeg_compression(image: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    return Jpeg(quality)(np.round(image * 255).astype(np.uint8), rng).astype(np.float32) / 255


_KINDS: dict[str, tuple[Callable[..., np.ndarray], list[Any]]] = {
    "gaussian_noise": (_gaussian_noise, [0.08, 0.12, 0.18, 0.26, 0.38]),
    "shot_noise": (_shot_noise, [60, 25, 12, 5, 3]),
    "impulse_noise": (_impulse_noise, [0.03, 0.06, 0.09, 0.17, 0.27]),
    "defocus_blur": (_defocus_blur, [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)]),
    "glass_blur": (_glass_blur, [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)]),
    "motion_blur": (_motion_blur, [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)]),
    "zoom_blur": (_zoom_blur, [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]),
    "snow": (
        _snow,
        [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
    ),
    "frost": (_frost, [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)]),
    "fog": (_fog, [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)]),
    "brightness": (_brightness, [0.1, 0.2, 0.3, 0.4, 0.5]),
    "contrast": (_contrast, [0.4, 0.3, 0.2, 0.1, 0.05]),
    "elastic_transform": (
        _elastic_transform,
        [(2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)],
    ),
    "pixelate": (_pixelate, [0.6, 0.5, 0.4, 0.3, 0.25]),
    "jpeg_compression": (_jpeg_compression, [25, 18, 15, 10, 7]),
}

IMAGENET_C = tuple(_KINDS)
"""The names of ImageNet-C's corruptions, as its folders are called."""
