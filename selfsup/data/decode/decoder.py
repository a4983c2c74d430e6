"""Encoded images to uint8 RGB arrays, with OpenCV.

What becomes of the odd ones:

- more than 8 bits a channel: scaled to 8 (the high byte); gray: repeated three times; CMYK: converted.
- transparency (PNG, WebP, GIF, TIFF): laid on white, as a viewer shows it. Dropping alpha instead, as PIL's
  ``convert('RGB')`` does, would show whatever color lies under the transparent pixels.
- EXIF orientation: applied. Animations: the first frame.
- truncated files: rejected. JPEG and PNG need their end marker, WebP its announced length, so that a decoder which
  fills the missing part with gray is never asked; the other formats are left to OpenCV, which rejects them.
- a damaged byte inside a JPEG's pixels cannot be told from noise: libjpeg continues, and so do we. PNG, GIF and WebP
  carry checks of their own and are rejected.
"""

import os
import stat
from pathlib import Path

import cv2
import numpy as np

from selfsup.data.decode.header import ImageHeader, read_header
from selfsup.errors import DecodeError

MAX_PIXELS = 1 << 28  # 268 megapixels, 805 MB decoded: the largest camera sensors on sale have 200

_REDUCED_FLAGS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def decode_image(
    source: str | os.PathLike[str] | bytes,
    *,
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> np.ndarray:
    """Decode one image.

    Args:
        source: a path, or the content of an image file.
        min_side: a hint, in pixels: a JPEG may come back at 1/2, 1/4 or 1/8 of its size as long as its shorter side
            keeps at least this length, which costs a fraction of the time. ``None`` decodes at full size.
        max_pixels: the most pixels the file may hold at full size; compared with the header, before any allocation.
        name: what to call the image in an error; default: the path.

    Returns:
        RGB image, uint8, shape (H, W, 3).

    Raises:
        DecodeError: if the file cannot be read, is no image, is cut short or damaged, or is larger than ``max_pixels``.
    """
    if isinstance(source, bytes):
        content, shown = source, name or "<bytes>"
    else:
        shown = name or os.fspath(source)
        try:
            is_file = stat.S_ISREG(os.stat(source).st_mode)
            content = Path(source).read_bytes() if is_file else b""  # reading a named pipe would wait for ever
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
            raise DecodeError(f"{shown}: {getattr(error, 'strerror', None) or error}") from None
        if not is_file:
            raise DecodeError(f"{shown}: not a regular file")
    try:
        header = read_header(content)
    except ValueError as error:
        raise DecodeError(f"{shown}: {error}") from None
    pixels = header.width * header.height
    if pixels > max_pixels:
        raise DecodeError(
            f"{shown}: {header.width} x {header.height} = {pixels:,} pixels, at most {max_pixels:,} are decoded "
            "(max_pixels)"
        )
    try:
        image = _decode(content, header, min_side)
    except cv2.error as error:
        raise DecodeError(f"{shown}: {error.err or error}") from None
    if image is None:
        raise DecodeError(f"{shown}: damaged {header.format} file or a kind of {header.format} that OpenCV cannot read")
    return image


def _decode(content: bytes, header: ImageHeader, min_side: int | None) -> np.ndarray | None:
    encoded = np.frombuffer(content, np.uint8)
    if header.transparent:
        return _decode_transparent(encoded, header)
    if header.format == "JPEG" and min_side is not None:
        for denominator, flag in _REDUCED_FLAGS.items():
            if min(header.width, header.height) >= denominator * min_side:
                reduced = cv2.imdecode(encoded, flag)
                return None if reduced is None else cv2.cvtColor(reduced, cv2.COLOR_BGR2RGB, dst=reduced)
    if header.format == "TIFF":  # OpenCV turns a TIFF upright while reading it, and once more unless told not to
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)


def _decode_transparent(encoded: np.ndarray, header: ImageHeader) -> np.ndarray | None:
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    if image.ndim == 2 or image.shape[2] != 4:
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    multiplied = header.format == "TIFF" and image.dtype == np.uint8  # libtiff multiplies 8-bit colors by their opacity
    if image.dtype == np.uint16:
        image = np.right_shift(image, 8).astype(np.uint8)
    color = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    opacity = cv2.merge([image[..., 3]] * 3)
    if not multiplied:
        color = cv2.multiply(color, opacity, scale=1 / 255)
    return _turn_upright(cv2.add(color, cv2.bitwise_not(opacity)), header.orientation)


def _turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (CIPA DC-008, tag 0x0112: where the stored first row and column belong)."""
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)
