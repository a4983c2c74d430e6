"""A new background behind a cut-out object for every view, so that views cannot be matched by their background."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from selfsup.data.decode.decoder import decode_image
from selfsup.data.sources.pictures import photograph_names
from selfsup.data.transforms.base import check_choice
from selfsup.data.transforms.geometry import RandomResizedCrop
from selfsup.errors import ConfigError
from selfsup.registry import TRANSFORMS

PHOTO_SIDE = 320  # pixels kept of a photograph's short side: scenes are small, and 16 photographs stay in memory


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class FreshBackground:
    """Lay an image with an alpha channel on a background drawn anew; an image without one passes unchanged.

    Args:
        kinds: backgrounds to choose from with equal chance: 'flat' (one color), 'gradient' (between two colors, in
            any direction), 'photo' (a piece of one of the packaged photographs), 'noise' (colored, coarse to fine).

    Raises:
        ConfigError: if ``kinds`` is empty or names an unknown kind.
    """

    kinds: Sequence[str] = ("flat", "gradient", "photo", "noise")

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str) or not self.kinds:
            raise ConfigError.at("kinds", "must be a list of kinds", got=self.kinds)
        for kind in self.kinds:
            check_choice("kinds", kind, tuple(_DRAW))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The composite (H, W, 3) of an image (H, W, 4); an image (H, W, 3) itself."""
        if image.shape[2] == 3:
            return image
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        return lay_on(image, _DRAW[kind](image.shape[0], image.shape[1], rng))


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class FreshFlatBackground:
    """Give what stands on a flat background another one, flat too: icons, logos, scans.

    The background is what is connected to the border and has its color. The pixels beside it are mixtures, which are
    taken apart as if each had half of either color. An image whose border has no color in common passes unchanged.

    Args:
        tolerance: the most that a pixel of the background may differ from its color, in each channel, >= 0.
    """

    tolerance: int = 10

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image (H, W, 3) on another background, or as it is."""
        color = flat_background(image, self.tolerance)
        if color is None:
            return image
        return lay_on(_cut_out(image, color, self.tolerance), _flat(image.shape[0], image.shape[1], rng))


def _cut_out(image: np.ndarray, color: np.ndarray, tolerance: int) -> np.ndarray:
    """RGBA (H, W, 4) of an image (H, W, 3), transparent where its background was."""
    most = (tolerance,) * 3
    framed = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=color.tolist())  # one connected border
    found = np.zeros((framed.shape[0] + 2, framed.shape[1] + 2), np.uint8)
    cv2.floodFill(framed, found, (0, 0), 0, most, most, 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY)
    outside = found[2:-2, 2:-2]
    beside = cv2.dilate(outside, np.ones((3, 3), np.uint8)) - outside
    cut_out = cv2.merge([*cv2.split(image), 255 - 255 * outside - 127 * beside])
    at = beside.astype(bool)
    cut_out[at, :3] = np.clip(2 * image[at].astype(np.int16) - color, 0, 255)
    return cut_out


BORDER_SHARE = 0.8  # of the border, which the thing shown may touch


def flat_background(image: np.ndarray, tolerance: int = 10) -> np.ndarray | None:
    """The color that an image (H, W, 3) has nearly all along its border, uint8 (3,); None if there is none."""
    if image.shape[2] != 3 or min(image.shape[:2]) < 3:
        return None
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    color = np.median(border, axis=0).astype(np.uint8)
    alike = (np.abs(border.astype(np.int16) - color) <= tolerance).all(axis=1).mean()
    return color if alike >= BORDER_SHARE else None


def lay_on(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Composite uint8 (H, W, 4) with straight alpha over uint8 (H, W, 3)."""
    alpha = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)


def _flat(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (height, width, 3))


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    start, end = rng.integers(0, 256, (2, 3)).astype(np.float32)
    angle = 2 * np.pi * rng.random()
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    along = (np.cos(angle) * x + np.sin(angle) * y) / (abs(np.cos(angle)) + abs(np.sin(angle))) + 0.5
    return (start + (end - start) * along[..., None].astype(np.float32)).astype(np.uint8)


def _photo(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    photos = _photographs()
    photo = photos[int(rng.integers(len(photos)))]
    return cv2.resize(RandomResizedCrop(max(height, width), (0.1, 1.0))(photo, rng), (width, height))


def _noise(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    side = 2 ** int(rng.integers(1, 6))  # from two to 32 patches across
    patches = rng.integers(0, 256, (min(side, height), min(side, width), 3), dtype=np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR)


_DRAW: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "flat": _flat,
    "gradient": _gradient,
    "photo": _photo,
    "noise": _noise,
}


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    """The packaged photographs, RGB, reduced to a short side of PHOTO_SIDE or a little more."""
    folder = files("selfsup.data") / "photos"
    return tuple(
        decode_image((folder / name).read_bytes(), min_side=PHOTO_SIDE, name=name) for name in photograph_names()
    )
