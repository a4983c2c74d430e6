"""Encoded images to uint8 RGB arrays, with OpenCV.

What becomes of the odd ones:

- more than 8 bits a channel: scaled to 8 (the high byte); gray: repeated three times; CMYK: converted. PNM is scaled
  by its maxval. Floating point TIFF is rejected, nothing says what white is there.
- transparency (PNG, WebP, GIF, TIFF, AVIF, HEIC, JPEG 2000): laid on white, as a viewer shows it. Dropping alpha
  instead, as PIL's ``convert('RGB')`` does, would show whatever color lies under the transparent pixels.
- EXIF orientation: applied. Animations: the first frame.
- truncated files: rejected. JPEG and PNG need their end marker, WebP its announced length, so that a decoder which
  fills the missing part with gray is never asked; the other formats are left to OpenCV, which rejects them.
- a damaged byte inside a JPEG's pixels cannot be told from noise: libjpeg continues, and so do we. PNG, GIF and WebP
  carry checks of their own and are rejected.
"""

import io
import os
import stat
from pathlib import Path

import cv2
import numpy as np

from selfsup.data.decode.header import ImageHeader, read_header
from selfsup.data.decode.pnm import pnm_values, read_pnm_header
from selfsup.errors import DecodeError
from selfsup.ops.files import read_patiently

MAX_PIXELS = 1 << 28  # 268 megapixels, 805 MB decoded: the largest camera sensors on sale have 200

_REDUCED_FLAGS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def decode_image(
    source: str | os.PathLike[str] | bytes,
    *,
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    bit_depth: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Decode one image.

    Args:
        source: a path, or the content of an image file.
        min_side: a hint, in pixels: a JPEG may come back at 1/2, 1/4 or 1/8 of its size as long as its shorter side
            keeps at least this length, which costs a fraction of the time. ``None`` decodes at full size.
        max_pixels: the most pixels the file may hold at full size; compared with the header, before any allocation.
        bit_depth: how many bits of a file with 16 for each channel are used, such as 12 as cameras give them: the
            value of white is ``2**bit_depth - 1`` then, not 65,535. Other files are not touched by it.
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
            content = read_patiently(Path(source)) if is_file else b""  # reading a named pipe would wait for ever
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
        image = _decode(content, header, min_side, bit_depth)
    except cv2.error as error:
        raise DecodeError(f"{shown}: {error.err or error}") from None
    except (ValueError, OSError, SyntaxError) as error:  # of our own reading of PNM, and of Pillow
        raise DecodeError(f"{shown}: {error}") from None
    if image is None:
        raise DecodeError(f"{shown}: damaged {header.format} file or a kind of {header.format} that OpenCV cannot read")
    return image


def used_bits(file: str | os.PathLike[str]) -> int | None:
    """How many bits the largest value of a file needs that stores 16 for each channel; None for any other file."""
    try:
        content = Path(file).read_bytes()
        header = read_header(content)
    except (OSError, ValueError):
        return None
    if header.bits != 16:
        return None
    if header.format == "PNM":
        return _pnm(content, None)[1].bit_length()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    return None if image is None or image.dtype != np.uint16 else int(image.max()).bit_length()


def _decode(content: bytes, header: ImageHeader, min_side: int | None, bit_depth: int | None) -> np.ndarray | None:
    if header.format == "PNM":
        return _pnm(content, bit_depth)[0]
    if header.format == "HEIC":
        return _heic(content)
    if header.misread:
        return _turn_upright(_by_pillow(content), header.orientation)
    encoded = np.frombuffer(content, np.uint8)
    if header.transparent:
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3 and image.shape[2] == 4:
            return _without_alpha(image, header, bit_depth)
    if header.format == "JPEG" and min_side is not None:
        for denominator, flag in _REDUCED_FLAGS.items():
            if min(header.width, header.height) >= denominator * min_side:
                reduced = cv2.imdecode(encoded, flag)
                return None if reduced is None else cv2.cvtColor(reduced, cv2.COLOR_BGR2RGB, dst=reduced)
    flags = cv2.IMREAD_COLOR_RGB
    if bit_depth is not None and header.bits == 16:
        flags |= cv2.IMREAD_ANYDEPTH
    if header.format == "AVIF":  # OpenCV does not turn it
        image = cv2.imdecode(encoded, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else _turn_upright(image, header.orientation)
    if header.format == "TIFF":  # OpenCV turns a TIFF upright while reading it, and once more unless told not to
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(encoded, flags)
    return None if image is None else _to_8_bits(image, bit_depth)


def _to_8_bits(image: np.ndarray, bit_depth: int | None) -> np.ndarray | None:
    if image.dtype == np.uint16:
        if bit_depth is None:
            return np.right_shift(image, 8).astype(np.uint8)
        return cv2.convertScaleAbs(image, alpha=255 / ((1 << bit_depth) - 1))
    return image if image.dtype == np.uint8 else None


def _without_alpha(image: np.ndarray, header: ImageHeader, bit_depth: int | None) -> np.ndarray | None:
    """A BGRA image laid on white, upright."""
    small = _to_8_bits(image, bit_depth)
    if small is None:
        return None
    color = cv2.cvtColor(small, cv2.COLOR_BGRA2RGB)
    opacity = cv2.merge([small[..., 3]] * 3)
    if not header.multiplied:
        color = cv2.multiply(color, opacity, scale=1 / 255)
    return _turn_upright(cv2.add(color, cv2.bitwise_not(opacity)), header.orientation)


def _pnm(content: bytes, bit_depth: int | None) -> tuple[np.ndarray, int]:
    """The image, and the largest value in the file."""
    header = read_pnm_header(content)
    assert header is not None
    values = pnm_values(content, header)
    white = header.maxval if bit_depth is None or header.maxval < 0xFFFF else (1 << bit_depth) - 1
    image = np.minimum((values.astype(np.uint32) * 510 + white) // (2 * white), 255).astype(np.uint8)  # rounded
    return np.repeat(image, 3 // image.shape[2], axis=2), int(values.max())


def _by_pillow(content: bytes) -> np.ndarray:
    """What OpenCV misreads, laid on white: Pillow comes with torchvision."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        color = opened.convert("RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", color.size, "white"), color).convert("RGB"))


def _heic(content: bytes) -> np.ndarray:
    try:
        import pillow_heif
    except ImportError:
        raise ValueError("HEIC is read with pillow-heif; pip install 'selfsup[heif]'") from None
    opened = pillow_heif.open_heif(io.BytesIO(content))  # 8 bits, and turned upright
    image = np.asarray(opened)
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] == 4:
        alpha = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
        return _without_alpha(alpha, ImageHeader("HEIC", 0, 0), None)  # type: ignore[return-value]
    return np.ascontiguousarray(image)


def _turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (CIPA DC-008, tag 0x0112: where the stored first row and column belong)."""
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)
