"""Images made worse on purpose, as in a study of pretraining data, and sources of images that are."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from selfsup.data.transforms.base import Transform, check_choice, check_positive, check_probability
from selfsup.errors import require
from selfsup.registry import DATASETS, TRANSFORMS

PUBLISHED_SIDE = 224
"""Shorter side of the images that ImageNet-C's lengths are meant for."""

_DOWN = {"box": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
Filter = Literal["box", "nearest", "bilinear", "bicubic"]


def scale_of(image: np.ndarray) -> float:
    """How long is in this image what is a pixel at 224."""
    return min(image.shape[:2]) / PUBLISHED_SIDE


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Shrink:
    """Make an image smaller, as an image of low resolution is.

    Args:
        side: of the shorter side in pixels; smaller images stay as they are. Could not be read in the paper.
        filter: of the resampling. Could not be read in the paper.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3, "Resize".
    """

    side: int = 112
    filter: Filter = "box"
    unverified: ClassVar[tuple[str, ...]] = ("side", "filter")

    def __post_init__(self) -> None:
        check_positive("side", self.side)
        check_choice("filter", self.filter, tuple(_DOWN))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The smaller image."""
        height, width = image.shape[:2]
        scale = self.side / min(height, width)
        if scale >= 1:
            return image
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(image, size, interpolation=_DOWN[self.filter])


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class LowResolution:
    """Make an image smaller and as large as before again: detail is lost, the size is kept.

    Args:
        factor: by which it is made smaller, > 1; the paper has 2 and 4.
        down: filter of the first step. Could not be read in the paper.
        up: filter of the second step. Could not be read in the paper.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3, "Resize & Downsample".
    """

    factor: float = 2
    down: Filter = "box"
    up: Filter = "nearest"
    unverified: ClassVar[tuple[str, ...]] = ("down", "up")

    def __post_init__(self) -> None:
        require(self.factor > 1, "factor", "must be > 1", got=self.factor)
        for name in ("down", "up"):
            check_choice(name, getattr(self, name), tuple(_DOWN))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image without its detail."""
        height, width = image.shape[:2]
        size = (max(1, round(width / self.factor)), max(1, round(height / self.factor)))
        small = cv2.resize(image, size, interpolation=_DOWN[self.down])
        # cv2's 'box' is bilinear when it enlarges; a box that enlarges repeats pixels
        up = cv2.INTER_NEAREST_EXACT if self.up in ("box", "nearest") else _DOWN[self.up]
        return cv2.resize(small, (width, height), interpolation=up)


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Jpeg:
    """Store an image as JPEG and read it again.

    Args:
        quality: in [1, 100]. Could not be read in the paper.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3, "JPEG".
    """

    quality: int = 10
    unverified: ClassVar[tuple[str, ...]] = ("quality",)

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 100, "quality", "must be in [1, 100]", got=self.quality)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image with the traces of compression."""
        _, stored = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        read: Any = cv2.imdecode(stored, cv2.IMREAD_COLOR)
        return np.ascontiguousarray(read[..., ::-1])


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class SaltAndPepper:
    """Make single pixels white or black, half of them each.

    Args:
        p: probability of each pixel, in [0, 1].

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3, "Salt & Pepper".
    """

    p: float = 0.01
    unverified: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_probability(self.p)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image with changed pixels."""
        chance = rng.random(image.shape[:2])
        changed = image.copy()
        changed[chance < self.p / 2] = 0
        changed[(chance >= self.p / 2) & (chance < self.p)] = 255
        return changed


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class Blur:
    """Blur an image by a Gaussian of a fixed width. Whether the paper has it could not be read.

    Args:
        sigma: in pixels at a shorter side of 224, > 0.
    """

    sigma: float = 2.0
    unverified: ClassVar[tuple[str, ...]] = ("sigma",)

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The blurred image."""
        return cv2.GaussianBlur(image, (0, 0), self.sigma * scale_of(image))


STUDY: Mapping[str, Transform] = {
    "resize": Shrink(),
    "downsample_2x": LowResolution(2),
    "downsample_4x": LowResolution(4),
    "jpeg": Jpeg(),
    "salt_and_pepper": SaltAndPepper(),
    "blur": Blur(),
}
"""The corruptions of Cole et al. 2022; the attribute ``unverified`` names what could not be read in the paper."""


@DATASETS.register_module()
class Corrupted:
    """A source whose images are corrupted, each by random numbers that follow from its name.

    Args:
        source: see :class:`~selfsup.data.ImageSource`, or its dict.
        corruption: a transform, or its dict.
        view: what is done to each image first, such as resizing and cropping.
        seed: another one gives other random numbers.
    """

    def __init__(
        self,
        source: Any,
        corruption: Transform | dict[str, Any],
        *,
        view: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int = 0,
    ) -> None:
        source = DATASETS.build(source)
        self.source, self.corruption, self.view, self.seed = source, TRANSFORMS.build(corruption), view, seed
        self.labels = getattr(source, "labels", None)
        self.classes = getattr(source, "classes", None)
        self.groups = getattr(source, "groups", None)
        self.digest = getattr(source, "digest", None)

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """The name of the clean image."""
        return self.source.name(index)

    def image(self, index: int) -> np.ndarray:
        """The corrupted image, uint8 (H, W, 3)."""
        image = self.source.image(index)
        if self.view is not None:
            image = self.view(image)
        about = f"{self.seed} {self.corruption} {self.name(index)}".encode("utf-8", "backslashreplace")
        key = int.from_bytes(hashlib.blake2b(about, digest_size=16).digest(), "little")
        return self.corruption(image, np.random.default_rng(key))
