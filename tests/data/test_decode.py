"""Files of every kind against Pillow, variant by variant, and what is no image."""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image, used_bits
from selfsup.errors import DecodeError
from tests.data.encoded import Image, encode, exif, picture, pillow_decode
from tests.data.pictures import picture as photograph

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
FRAMES: dict[str, Any] = {"save_all": True}
LOSSLESS: dict[str, Any] = {"lossless": True, "exact": True}
VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {  # Pillow's mode, and options
    "JPEG": [
        *(("RGB", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 0}), ("RGB", {"keep_rgb": True})),
        *(("L", {}), ("CMYK", {"quality": 95})),
    ],
    "PNG": [
        *((mode, {}) for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "I;16")),
        *(("P", {"bits": 4}), ("P", {"transparency": 3}), ("L", {"transparency": 90}), ("RGBA", FRAMES)),
    ],
    "WEBP": [("RGB", {}), ("RGB", LOSSLESS), ("RGBA", LOSSLESS), ("RGB", FRAMES), ("RGBA", {**FRAMES, **LOSSLESS})],
    "GIF": [("P", {}), ("L", {}), ("P", {"interlace": 1}), ("P", {"transparency": 3}), ("P", FRAMES)],
    "TIFF": [
        *((mode, {}) for mode in ("RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "I;16", "YCbCr")),
        *(("RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        *(("1", {"compression": "group4"}), ("RGB", {"big_tiff": True}), ("RGBA", {"big_tiff": True})),
    ],
    "BMP": [("RGB", {}), ("L", {}), ("1", {}), ("P", {}), ("RGBA", {})],
    "AVIF": [
        *(("RGB", {}), ("L", {}), ("RGB", {"subsampling": "4:4:4"}), ("RGB", {"range": "limited"}), ("RGBA", {})),
        *(("LA", {}), ("RGB", FRAMES), ("RGBA", FRAMES)),
    ],
    "PPM": [("RGB", {}), ("L", {}), ("1", {}), ("I;16", {})],
    "JPEG2000": [
        *((mode, {}) for mode in ("RGB", "L", "RGBA", "LA", "I;16", "YCbCr")),
        *(("RGB", {"irreversible": True, "quality_layers": [30]}), ("RGB", {"no_jp2": True}), ("LA", {"no_jp2": True})),
    ],
}


def in_mode(mode: str) -> Any:
    """A photograph, its opacity growing from left to right where it has one."""
    image = Image.fromarray(photograph(75, 101))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 101).astype(np.uint8), (75, 1))))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def assert_close(actual: np.ndarray, expected: np.ndarray, most: int = 1) -> None:
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= most


@pytest.mark.parametrize(
    "kind, mode, options", [(kind, *variant) for kind, variants in VARIANTS.items() for variant in variants]
)
def test_agrees_with_pillow(kind: str, mode: str, options: dict[str, Any]) -> None:
    image = in_mode(mode)
    others = {"append_images": [image.rotate(180)]} if "save_all" in options else {}
    content = encode(image, kind, **options, **others)
    assert_close(decode_image(content), pillow_decode(content))


@pytest.mark.parametrize("kind, mode", [("JPEG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"),
                                        ("WEBP", "RGBA"), ("TIFF", "RGB"), ("TIFF", "RGBA"), ("TIFF", "LA"),
                                        ("AVIF", "RGB"), ("AVIF", "RGBA")])  # fmt: skip
def test_an_exif_orientation_is_undone(kind: str, mode: str) -> None:
    for orientation in range(1, 9):
        content = encode(in_mode(mode), kind, exif=exif(orientation), **(LOSSLESS if kind == "WEBP" else {}))
        assert_close(decode_image(content), pillow_decode(content))


def tiff_of_16_bits(color: np.ndarray, extra: int) -> bytes:
    """RGBA in one strip; what the fourth channel is says the tag ExtraSamples."""
    height, width, channels = color.shape
    fields = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 2), (273, 4, 8),
              (277, 3, channels), (278, 4, height), (279, 4, color.size * 2), (338, 3, extra)]  # fmt: skip
    at = 8 + color.size * 2
    bits_at = at + 2 + 12 * len(fields) + 4
    entries = [
        struct.pack("<HHII", tag, kind, 4 if tag == 258 else 1, bits_at if tag == 258 else value)
        for tag, kind, value in fields
    ]
    directory = struct.pack("<H", len(fields)) + b"".join(entries) + bytes(4) + struct.pack("<4H", *[16] * 4)
    return struct.pack("<2sHI", b"II", 42, at) + color.astype("<u2").tobytes() + directory


def test_colors_of_16_bits_with_opacity_are_laid_on_white() -> None:
    color = np.asarray(in_mode("RGBA"))
    deep = color.astype(np.uint16) * 257
    multiplied = deep.copy()
    multiplied[..., :3] = deep[..., :3] * (deep[..., 3:] / 65535)
    png = cv2.imencode(".png", cv2.cvtColor(deep, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    for content in (png, tiff_of_16_bits(deep, 2), tiff_of_16_bits(multiplied, 1)):
        assert_close(decode_image(content), pillow_decode(encode(color, "PNG")))


def bmp(pixels: np.ndarray, compression: int, *masks: int) -> bytes:
    """Bottom-up rows, with the masks of the channels behind the header."""
    height, width = pixels.shape
    fields = (width, height, 1, pixels.itemsize * 8, compression, pixels.nbytes, 0, 0, 0, 0, *masks)
    header = struct.pack("<IiiHHIIiiII" + "I" * len(masks), 40 if len(masks) < 4 else 108, *fields)
    header += bytes(52 if len(masks) == 4 else 0)
    start = 14 + len(header)
    return struct.pack("<2sIHHI", b"BM", start + pixels.nbytes, 0, 0, start) + header + pixels[::-1].tobytes()


def test_bmp_of_16_bits_reaches_white_and_of_32_may_have_opacity() -> None:
    red, green, blue, alpha = np.moveaxis(np.asarray(in_mode("RGBA"))[:, 1:].astype(np.uint32), -1, 0)
    for content in (
        bmp((red >> 3 << 10 | green >> 3 << 5 | blue >> 3).astype("<u2"), 0),
        bmp((red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype("<u2"), 3, 0xF800, 0x7E0, 0x1F),
        bmp((alpha << 24 | red << 16 | green << 8 | blue).astype("<u4"), 3, 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    ):
        assert_close(decode_image(content), pillow_decode(content))
    assert decode_image(bmp(np.full((4, 4), 0x7FFF, "<u2"), 0)).min() == 255


@pytest.mark.parametrize("maxval", [1, 7, 15, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("magic", range(1, 7))
def test_pnm_is_scaled_by_its_maxval(magic: int, maxval: int) -> None:
    if magic in (1, 4):
        maxval = 1
    values = np.random.default_rng(0).integers(0, maxval + 1, (9, 13, 3 if magic in (3, 6) else 1))
    values.flat[:2] = 0, maxval
    header = f"P{magic} # made by hand\n13\n#\n9" + (f" {maxval}\n" if magic not in (1, 4) else "\n")
    if magic <= 3:
        body = (" # a row\n".join(" ".join(map(str, row.flat)) for row in values)).encode()
    elif magic == 4:
        body = np.packbits(values[..., 0].astype(bool), axis=1).tobytes()
    else:
        body = values.astype(np.uint8 if maxval < 256 else ">u2").tobytes()
    shown = values / maxval if magic not in (1, 4) else 1 - values
    content = header.encode() + body
    assert np.abs(decode_image(content) - 255 * shown).max() <= 0.5
    with pytest.raises(DecodeError, match="truncated: the PNM has"):
        decode_image(content[: -20 if magic == 1 else -8])


def test_pnm_values_above_the_maxval_and_text_among_them_are_rejected() -> None:
    for content in (b"P2 2 1 7 3 8", b"P5 2 1 7\n\x03\x08", b"P2 2 1 7 3 x", b"P2 2 1 0 0 0", b"P3 1 1 70000 0 0 0"):
        with pytest.raises(DecodeError, match="<bytes>: "):
            decode_image(content)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_a_bit_depth_stretches_16_bits_alone(kind: str, tmp_path: Path) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    (tmp_path / "deep").write_bytes(content := encode(deep, kind))
    assert used_bits(tmp_path / "deep") == 12
    assert decode_image(content).max() in (15, 16)
    assert np.abs(decode_image(content, bit_depth=12)[..., 0] - deep / 4095 * 255).max() <= 0.5
    assert decode_image(content, bit_depth=8).max() == 255  # never wraps around
    (tmp_path / "shallow").write_bytes(shallow := encode(picture(), kind))
    assert used_bits(tmp_path / "shallow") is None and used_bits(tmp_path / "gone") is None
    np.testing.assert_array_equal(decode_image(shallow, bit_depth=12), picture())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heic_is_read_by_an_extra(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for orientation in (1, 6):
        content = encode(in_mode(mode), "HEIF", quality=95, exif=exif(orientation))
        assert_close(decode_image(content), pillow_decode(content))
    with pytest.raises(DecodeError, match="<bytes>: "):
        decode_image(content[: len(content) // 2])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DecodeError, match=r"selfsup\[heif\]"):
        decode_image(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_rejected(kind: str, tmp_path: Path) -> None:
    content = encode(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8), kind)
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.img").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DecodeError, match=r"cut\.img: "):
            decode_image(tmp_path / "cut.img")
    if kind in ("JPEG", "PNG", "WEBP"):
        with pytest.raises(DecodeError, match="truncated: "):
            decode_image(content[:-2])
    if kind == "PNG":
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0xFF
        with pytest.raises(DecodeError, match="damaged PNG"):
            decode_image(bytes(damaged))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_tail_was_zeroed_is_rejected_though_its_thumbnail_ends_well(progressive: bool) -> None:
    whole = encode(picture(300, 400), "JPEG", progressive=progressive)
    thumbnail = encode(picture(20, 30), "JPEG")
    with_thumbnail = (
        whole[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail + whole[2:]
    )
    assert decode_image(with_thumbnail).shape == (300, 400, 3)
    half = len(with_thumbnail) // 2
    with pytest.raises(DecodeError, match="truncated: the JPEG has no end marker"):
        decode_image(with_thumbnail[:half] + bytes(len(with_thumbnail) - half))


def test_stray_bytes_in_or_behind_a_whole_jpeg_do_no_harm() -> None:
    content = encode(picture(), "JPEG")
    for stray in (content[:20] + b"\0\0" + content[20:], content + b"a video" * 1000):
        np.testing.assert_array_equal(decode_image(stray), decode_image(content))


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "the file is empty"),
        (b"\xff", "not an image"),
        (b"\xff\xd8", "truncated: the file ends inside its header"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"RIFF\0\0\0\0WEBP", "truncated"),
        (b"<!doctype html><title>404</title>", r"not an image: the file starts with b'<!doctyp'"),
        (b"\0" * 5000, "not an image"),
        (b"BM" + b"\0" * 60, "broken header: 0 x 0 pixels"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "not an image"),
    ],
)
def test_what_is_no_image_is_rejected_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    for path, said in (("bad.jpg", rf"bad\.jpg: {reason}"), ("gone", "No such file"), (".", "not a regular file")):
        with pytest.raises(DecodeError, match=said):
            decode_image(tmp_path / path)


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_behind_a_known_signature_never_raise_anything_else(kind: str) -> None:
    whole = encode(picture(16, 20), kind)
    for seed in range(8):
        content, rng = bytearray(whole), np.random.default_rng(seed)
        for at in rng.integers(2, len(content), 8):
            content[at] = rng.integers(256)
        try:
            decode_image(bytes(content), max_pixels=10**6)
        except DecodeError as error:
            assert str(error).startswith("<bytes>: ")


def test_a_huge_image_is_rejected_from_its_header_alone() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=r"100000 x 100000 = 10,000,000,000 pixels, at most 268,435,456"):
        decode_image(bomb)
    content = encode(picture(75, 100), "PNG")
    assert decode_image(content, max_pixels=7500).shape == (75, 100, 3)
    with pytest.raises(DecodeError, match="max_pixels"):
        decode_image(content, max_pixels=7499)


@pytest.mark.parametrize(
    "min_side, shape",
    [(None, (300, 401)), (301, (300, 401)), (150, (150, 201)), (76, (150, 201)), (75, (75, 101)), (37, (38, 51))],
)
def test_a_jpeg_is_decoded_smaller_but_never_below_the_asked_side(min_side: int | None, shape: tuple[int, int]) -> None:
    content = encode(picture(300, 401), "JPEG", quality=95)
    decoded = decode_image(content, min_side=min_side)
    assert decoded.shape[:2] == shape
    expected = cv2.resize(picture(300, 401), shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.astype(int) - expected).mean() < 2
    turned = decode_image(encode(picture(300, 401), "JPEG", exif=exif(6)), min_side=min_side)
    assert turned.shape[:2] == shape[::-1]


@pytest.mark.slow
def test_100_megapixels_are_decoded_within_the_default_limit() -> None:
    content = encode(np.zeros((8736, 11648, 3), np.uint8), "JPEG")
    assert MAX_PIXELS >= 8736 * 11648
    assert decode_image(content, min_side=600).shape == (1092, 1456, 3)
    assert decode_image(content).shape == (8736, 11648, 3)
