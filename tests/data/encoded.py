"""Image files of every kind, made by Pillow: a second opinion on what a file says."""

import io
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


def picture(height: int = 75, width: int = 100) -> np.ndarray:
    """A smooth picture without symmetry, uint8 RGB."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)], -1).astype(np.uint8)


def encode(image: np.ndarray | Any, kind: str, **options: Any) -> bytes:
    """The content of an image file; ``image`` may be an array or a Pillow image."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def pillow_decode(content: bytes) -> np.ndarray:
    """First frame, upright, laid on white, RGB; of 16 bits the high byte."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode not in ("P", "L", "LA", "RGBA"):
        return np.asarray(image.convert("RGB"))
    color = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", color.size, "white"), color).convert("RGB"))


def exif(orientation: int) -> Any:
    """EXIF data that holds this orientation."""
    made = Image.Exif()
    made[0x0112] = orientation
    return made
