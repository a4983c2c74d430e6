"""What the first bytes of an image file say: format, size, transparency, orientation, and whether the end is there.

Read before anything is allocated, so that a file which claims a billion pixels is rejected at the cost of its header.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from selfsup.data.decode.pnm import read_pnm_header

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_ORIENTATION, _TIFF_SAMPLES, _TIFF_EXTRA = 256, 257, 258, 274, 277, 338
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF_BRANDS = {b"avif", b"avis"}
_TURNS = {  # the EXIF orientation that says what irot (quarter turns to the left), then imir (its axis) say
    (0, None): 1, (0, 1): 2, (2, None): 3, (0, 0): 4, (1, 0): 5, (3, None): 6, (3, 0): 7, (1, None): 8,
    (1, 1): 7, (2, 0): 2, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about its image.

    Attributes:
        format: ``JPEG``, ``PNG``, ``GIF``, ``WebP``, ``BMP``, ``TIFF``, ``AVIF``, ``HEIC``, ``JPEG 2000`` or ``PNM``.
        width: stored width in pixels, before the orientation is applied.
        height: stored height in pixels.
        transparent: whether an alpha channel or a transparent color may be there.
        orientation: the EXIF orientation, 1 to 8; read only where the decoder does not turn the image itself.
        bits: stored for a channel; read of PNG, TIFF and PNM, whose 16 bits may hold fewer.
        multiplied: whether the decoder gives colors that are multiplied by their opacity.
        misread: whether OpenCV reads this kind wrongly, or not at all, and Pillow is asked.
    """

    format: str
    width: int
    height: int
    transparent: bool = False
    orientation: int = 1
    bits: int = 8
    multiplied: bool = False
    misread: bool = False


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
            "HEIC, JPEG 2000 and PNM"
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
    if content.startswith(_TIFF_STARTS):
        tags = _tiff_tags(content)
        samples = tags.get(_TIFF_SAMPLES, 1)
        bits, extra = tags.get(_TIFF_BITS, 1), tags.get(_TIFF_EXTRA, 0)
        return ImageHeader(
            "TIFF",
            tags.get(_TIFF_WIDTH, 0),
            tags.get(_TIFF_HEIGHT, 0),
            transparent=extra in (1, 2) or samples == 2,
            bits=bits,
            multiplied=extra == 1 or bits == 8,  # libtiff multiplies where the file has 8 bits and has not
            misread=samples == 2 or bits in (2, 4),
        )
    if content[4:8] == b"ftyp":
        return _heif(content)
    if content.startswith(b"\0\0\0\x0cjP  "):
        height, width, channels = struct.unpack_from(">IIH", content, _find(content, b"ihdr") + 4)
        is_ycc = content[_find(content, b"colr") + 7 :].startswith(b"\0\0\0\x12")
        return ImageHeader("JPEG 2000", width, height, channels == 4, misread=channels == 2 or is_ycc)
    if content.startswith(b"\xff\x4f\xff\x51"):  # a JPEG 2000 codestream without a container
        right, bottom, left, top, *_, channels = struct.unpack_from(">8IH", content, 8)
        return ImageHeader("JPEG 2000", right - left, bottom - top, channels == 4, misread=channels == 2)
    if (pnm := read_pnm_header(content)) is not None:
        return ImageHeader("PNM", pnm.width, pnm.height, bits=16 if pnm.maxval == 0xFFFF else 8)
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
    width, height, bits, color = struct.unpack_from(">IIBB", content, 16)
    if not content.endswith(b"IEND\xaeB`\x82") and content.rfind(b"\0\0\0\0IEND\xaeB`\x82") < 0:
        raise ValueError(f"truncated: the PNG has no end chunk in its {len(content):,} bytes")
    before_pixels = content[: content.index(b"IDAT")] if b"IDAT" in content else content
    has_transparent_color = b"tRNS" in before_pixels
    transparent = color in (4, 6) or has_transparent_color
    exif = content.find(b"eXIf") if transparent else -1
    orientation = _orientation(content[exif + 4 :]) if exif > 0 else 1
    misread = color == 0 and has_transparent_color and bits <= 8
    return ImageHeader("PNG", width, height, transparent, orientation, bits, misread=misread)


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


def _heif(content: bytes) -> ImageHeader | None:
    """AVIF and HEIC, which differ in their brands and in who decodes them."""
    (length,) = struct.unpack_from(">I", content)
    brands = {content[at : at + 4] for at in (8, *range(16, min(length, 128), 4))}
    if not brands & (_AVIF_BRANDS | _HEIC_BRANDS):
        return None
    properties = content[_find(content, b"ipco") : _find(content, b"ipma")]
    sizes = [struct.unpack_from(">II", properties, found.end() + 4) for found in re.finditer(b"ispe", properties)]
    width, height = max(sizes, key=lambda size: size[0] * size[1])  # the others are tiles
    if not brands & _AVIF_BRANDS:
        return ImageHeader("HEIC", width, height)
    turn, mirror = (properties[at + 4] if (at := properties.find(name)) >= 0 else None for name in (b"irot", b"imir"))
    orientation = _TURNS.get(((turn or 0) & 3, mirror), 1)
    return ImageHeader("AVIF", width, height, b"auxiliary:alpha" in properties, orientation)


def _bmp(content: bytes) -> ImageHeader:
    (header_size,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", content, 18)
    (bits,) = struct.unpack_from("<H", content, 24 if header_size == 12 else 28)
    has_alpha = bits == 32 and header_size >= 56 and content[66:70] != bytes(4)
    return ImageHeader("BMP", width, abs(height), misread=bits == 16 or has_alpha)


def _find(content: bytes, wanted: bytes, start: int = 0) -> int:
    at = content.find(wanted, start)
    if at < 0:
        raise IndexError(f"no {wanted!r}")
    return at


def _orientation(exif: bytes) -> int:
    return _tiff_tags(exif).get(_TIFF_ORIENTATION, 1) if exif.startswith(_TIFF_STARTS) else 1


def _tiff_tags(content: bytes) -> dict[int, int]:
    return dict(_tiff_entries(content))


def _tiff_entries(content: bytes) -> Iterator[tuple[int, int]]:
    """The tags of the first directory that hold small integers, each with its first value."""
    order = "<" if content.startswith(b"II") else ">"
    is_big = b"+" in content[:4]
    pointer, length, room = ("Q", 20, 8) if is_big else ("I", 12, 4)
    (at,) = struct.unpack_from(order + pointer, content, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), content, at)
    at += 8 if is_big else 2
    for entry in range(at, at + length * count, length):
        tag, kind, values = struct.unpack_from(f"{order}HH{pointer}", content, entry)
        if values and kind in _TIFF_FORMATS:
            value = entry + 4 + room
            if values * struct.calcsize(_TIFF_FORMATS[kind]) > room:
                (value,) = struct.unpack_from(order + pointer, content, value)
                if tag != _TIFF_BITS:  # a list of strips: long, and of no use here
                    continue
            yield tag, struct.unpack_from(order + _TIFF_FORMATS[kind], content, value)[0]
