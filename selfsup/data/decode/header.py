"""What the first bytes of an image file say: format, size, transparency, orientation, and whether the end is there.

Read before anything is allocated, so that a file which claims a billion pixels is rejected at the cost of its header.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PNM_HEADER = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION, _TIFF_SAMPLES, _TIFF_EXTRA = 256, 257, 274, 277, 338


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about its image.

    Attributes:
        format: ``JPEG``, ``PNG``, ``GIF``, ``WebP``, ``BMP``, ``TIFF``, ``AVIF``, ``JPEG 2000`` or ``PNM``.
        width: stored width in pixels, before the orientation is applied.
        height: stored height in pixels.
        transparent: whether an alpha channel or a transparent color may be there.
        orientation: the EXIF orientation, 1 to 8; read only where ``transparent``, the decoder handles the others.
    """

    format: str
    width: int
    height: int
    transparent: bool = False
    orientation: int = 1


def read_header(content: bytes) -> ImageHeader:
    """Read the header of an encoded image.

    Args:
        content: the whole file.

    Raises:
        ValueError: if this is no image of a known format, or the file is empty or cut short; the message is the reason.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        header = _read_known(content)
    except (struct.error, IndexError):
        raise ValueError("truncated: the file ends inside its header") from None
    if header is None:
        raise ValueError(
            f"not an image: the file starts with {content[:8]!r}; read are JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, "
            "JPEG 2000 and PNM"
        )
    if header.width <= 0 or header.height <= 0:
        raise ValueError(f"broken header: {header.width} x {header.height} pixels")
    return header


def _read_known(content: bytes) -> ImageHeader | None:
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", content, 6)
        return ImageHeader("GIF", width, height, transparent=True)
    if content.startswith(b"BM"):
        return _bmp(content)
    if content.startswith((b"II*\0", b"MM\0*")):
        tags = _tiff_tags(content)
        transparent = tags.get(_TIFF_EXTRA, 0) in (1, 2) or tags.get(_TIFF_SAMPLES) == 2
        return ImageHeader("TIFF", tags.get(_TIFF_WIDTH, 0), tags.get(_TIFF_HEIGHT, 0), transparent)
    if content[4:8] == b"ftyp" and content[8:12] in (b"avif", b"avis", b"mif1"):
        return ImageHeader("AVIF", *struct.unpack_from(">II", content, _find(content, b"ispe") + 8))
    if content.startswith(b"\0\0\0\x0cjP  "):
        height, width = struct.unpack_from(">II", content, _find(content, b"ihdr") + 4)
        return ImageHeader("JPEG 2000", width, height)
    if match := _PNM_HEADER.match(content[:1024]):
        return ImageHeader("PNM", int(match[1]), int(match[2]))
    return None


def _jpeg(content: bytes) -> ImageHeader:
    """Walk the segments to the frame header and on to the scan, then look for the end-of-image marker behind it.

    An end marker cannot occur inside entropy-coded data (0xFF is stuffed there), and one in an embedded thumbnail lies
    before the scan. Bytes after the image (a second picture, a video) are common and allowed.
    """
    at, size = 2, None
    while True:
        at = _find(content, b"\xff", at)  # bytes between segments are skipped, as libjpeg does
        marker = content[at + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", content, at + 5)
        at += 2 + length
    if size is None:
        raise ValueError("broken JPEG: no frame header before the pixels")
    if not content.endswith(b"\xff\xd9") and content.find(b"\xff\xd9", at) < 0:
        raise ValueError(f"truncated: the JPEG has no end marker in its {len(content):,} bytes")
    return ImageHeader("JPEG", size[1], size[0])


def _png(content: bytes) -> ImageHeader:
    width, height, _, color = struct.unpack_from(">IIBB", content, 16)
    if not content.endswith(b"IEND\xaeB`\x82") and content.rfind(b"\0\0\0\0IEND\xaeB`\x82") < 0:
        raise ValueError(f"truncated: the PNG has no end chunk in its {len(content):,} bytes")
    before_pixels = content[: content.index(b"IDAT")] if b"IDAT" in content else content
    transparent = color in (4, 6) or b"tRNS" in before_pixels
    exif = content.find(b"eXIf") if transparent else -1
    return ImageHeader("PNG", width, height, transparent, _orientation(content[exif + 4 :]) if exif > 0 else 1)


def _webp(content: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", content, 4)
    if size + 8 > len(content):
        raise ValueError(f"truncated: the WebP announces {size + 8:,} bytes, the file has {len(content):,}")
    kind = content[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
        transparent = bool(content[20] & 0x10)
        exif = content.rfind(b"EXIF") if transparent and content[20] & 0x08 else -1
        orientation = _orientation(content[exif + 8 :].removeprefix(b"Exif\0\0")) if exif > 0 else 1
        return ImageHeader("WebP", width, height, transparent, orientation)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return ImageHeader("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    width, height = struct.unpack_from("<HH", content, 26)
    return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF)


def _bmp(content: bytes) -> ImageHeader:
    (header_size,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", content, 18)
    return ImageHeader("BMP", width, abs(height))


def _find(content: bytes, wanted: bytes, start: int = 0) -> int:
    at = content.find(wanted, start)
    if at < 0:
        raise IndexError(f"no {wanted!r}")
    return at


def _orientation(exif: bytes) -> int:
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return 1
    orientation = _tiff_tags(exif).get(_TIFF_ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_tags(content: bytes) -> dict[int, int]:
    return dict(_tiff_entries(content))


def _tiff_entries(content: bytes) -> Iterator[tuple[int, int]]:
    """The tags of the first directory whose value is one small integer."""
    order = "<" if content.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", content, entry)
        if values == 1 and kind in _TIFF_FORMATS:
            yield tag, struct.unpack_from(order + _TIFF_FORMATS[kind], content, entry + 8)[0]
