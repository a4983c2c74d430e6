"""Netpbm's six formats (P1 to P6) with any maxval: bitmaps, gray and color, as text or as bytes.

Source: netpbm.sourceforge.net/doc, pbm, pgm and ppm. OpenCV reads 1 to 255 as they are, whatever the maxval.
"""

import re
from dataclasses import dataclass

import numpy as np

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_SIZE = re.compile(rb"P([1-6])" + _SPACE + rb"(\d+)" + _SPACE + rb"(\d+)")
_MAXVAL = re.compile(_SPACE + rb"(\d+)")
_COMMENT = re.compile(rb"#[^\n]*")


@dataclass(frozen=True, slots=True)
class PnmHeader:
    """The beginning of a file.

    Attributes:
        magic: 1 to 6.
        width: in pixels.
        height: in pixels.
        maxval: the value of white, 1 to 65535; 1 for a bitmap.
        start: where the pixels begin.
    """

    magic: int
    width: int
    height: int
    maxval: int
    start: int


def read_pnm_header(content: bytes) -> PnmHeader | None:
    """The header; None if this is no such file."""
    size = _SIZE.match(content[:4096])
    if size is None:
        return None
    magic, end, maxval = int(size[1]), size.end(), 1
    if magic not in (1, 4):
        found = _MAXVAL.match(content[:4096], end)
        if found is None:
            return None
        maxval, end = int(found[1]), found.end()
    return PnmHeader(magic, int(size[2]), int(size[3]), maxval, end + 1)


def pnm_values(content: bytes, header: PnmHeader) -> np.ndarray:
    """What the file says of each pixel, 0 to maxval; of a bitmap 1 is white here.

    Returns:
        Shape (H, W, 1) or (H, W, 3), uint8 or uint16.

    Raises:
        ValueError: if pixels are missing or out of range.
    """
    if not 0 < header.maxval < 1 << 16:
        raise ValueError(f"broken header: the maxval is {header.maxval}")
    channels = 3 if header.magic in (3, 6) else 1
    shape = (header.height, header.width, channels)
    body, count = content[header.start :], header.height * header.width * channels
    if header.magic == 4:
        columns = -(-header.width // 8)
        packed = _first(np.frombuffer(body, np.uint8), header.height * columns).reshape(header.height, columns)
        values = 1 - np.unpackbits(packed, axis=1, count=header.width)
    elif header.magic == 1:  # the digits of a text bitmap need no space between them
        digits = b"".join(_COMMENT.sub(b"", body).split())
        values = 1 - (_first(np.frombuffer(digits, np.uint8), count) - ord("0"))
    elif header.magic in (2, 3):
        values = _first(np.array(_COMMENT.sub(b"", body).split(None, count)[:count], np.int64), count)
    else:
        kind = np.dtype(np.uint8 if header.maxval < 256 else ">u2")
        values = _first(np.frombuffer(body, kind, len(body) // kind.itemsize), count)
    if values.size and not 0 <= values.min() <= values.max() <= header.maxval:
        raise ValueError(f"broken PNM: a value of {values.max()}, the maxval is {header.maxval}")
    return values.reshape(shape).astype(np.uint8 if header.maxval < 256 else np.uint16)


def _first(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) < count:
        raise ValueError(f"truncated: the PNM has {len(values):,} of its {count:,} values")
    return values[:count]
