import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image
from selfsup.errors import DecodeError
from tests.data.encoded import Image, encode, exif, picture, pillow_decode

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


def assert_close(actual: np.ndarray, expected: np.ndarray, mean: float = 1.0) -> None:
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).mean() <= mean


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_pillow(kind: str) -> None:
    content = encode(picture(), kind)
    assert_close(decode_image(content), pillow_decode(content))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_pixels_back(kind: str) -> None:
    np.testing.assert_array_equal(decode_image(encode(picture(), kind)), picture())


def test_a_plain_jpeg_is_what_one_call_of_opencv_gives(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content := encode(picture(), "JPEG"))
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_16_bits_are_scaled_to_8(extension: str) -> None:
    deep = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    decoded = decode_image(cv2.imencode(extension, deep)[1].tobytes())
    assert decoded.shape == (256, 256, 3)
    assert np.abs(decoded[..., 0] - deep / 257).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_other_color_models_become_rgb(mode: str, kind: str) -> None:
    if (kind, mode) in {("JPEG", "P"), ("PNG", "CMYK"), ("PNG", "YCbCr"), ("TIFF", "YCbCr"), ("TIFF", "CMYK")}:
        pytest.skip("no such file")
    content = encode(Image.fromarray(picture()).convert(mode), kind)
    assert_close(decode_image(content), pillow_decode(content), mean=2.0)  # CMYK: formulas differ by rounding


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    color = np.dstack([picture(), np.zeros((75, 100), np.uint8)])
    color[20:, :, 3] = 255
    if kind != "GIF":
        color[40:, :, 3] = 100
    content = encode(color, kind, **(dict(lossless=True, exact=True) if kind == "WEBP" else {}))
    source = Image.open(io.BytesIO(content)).convert("RGBA")
    white = Image.new("RGBA", source.size, (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, source).convert("RGB"))
    assert (expected[:20] == 255).all()
    assert np.abs(decode_image(content).astype(int) - expected).max() <= 1


def test_a_transparent_palette_color_is_laid_on_white() -> None:
    content = encode(Image.fromarray(picture()).convert("P"), "PNG", transparency=0)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    assert (decode_image(content)[expected[..., 3] == 0] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind, mode", [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGB")]
)
def test_an_exif_orientation_is_undone(orientation: int, kind: str, mode: str) -> None:
    options = {} if kind != "WEBP" else {"lossless": True}
    source = Image.fromarray(picture()).convert(mode)
    if mode == "RGBA":
        source.putpixel((0, 0), (0, 0, 0, 254))  # an all-opaque alpha channel would be left out
    content = encode(source, kind, exif=exif(orientation), **options)
    assert_close(decode_image(content), pillow_decode(content))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), gray, np.uint8)) for gray in (10, 100, 200)]
    decoded = decode_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert decoded.shape == (20, 30, 3)
    assert np.abs(decoded.astype(int) - 10).max() <= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_rejected(kind: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    content = encode(noise, kind)
    (tmp_path / "cut.img").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DecodeError, match=r"cut\.img: "):
        decode_image(tmp_path / "cut.img")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_that_lacks_only_its_last_bytes_is_called_truncated(kind: str) -> None:
    content = encode(picture(), kind)
    with pytest.raises(DecodeError, match="truncated: "):
        decode_image(content[:-2], name="x")


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


def test_stray_bytes_between_the_segments_of_a_jpeg_do_no_harm() -> None:
    content = encode(picture(), "JPEG")
    np.testing.assert_array_equal(decode_image(content[:20] + b"\0\0" + content[20:]), decode_image(content))


def test_bytes_behind_a_whole_jpeg_do_no_harm() -> None:
    content = encode(picture(), "JPEG")
    np.testing.assert_array_equal(decode_image(content + b"a video" * 1000), decode_image(content))


def test_a_damaged_png_is_rejected() -> None:
    content = bytearray(encode(picture(), "PNG"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(DecodeError, match="damaged PNG"):
        decode_image(bytes(content))


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
    ],
)
def test_what_is_no_image_is_rejected_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(DecodeError, match=rf"bad\.jpg: {reason}"):
        decode_image(tmp_path / "bad.jpg")


@pytest.mark.parametrize("seed", range(40))
def test_random_bytes_behind_a_known_signature_never_raise_anything_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    content = bytearray(encode(picture(16, 20), kind))
    for at in rng.integers(2, len(content), 8):
        content[at] = rng.integers(256)
    try:
        decode_image(bytes(content), max_pixels=10**6)
    except DecodeError as error:
        assert str(error).startswith("<bytes>: ")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"gone\.jpg: No such file or directory"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(DecodeError, match="not a regular file"):
        decode_image(tmp_path)


def test_a_huge_image_is_rejected_from_its_header_alone() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=r"100000 x 100000 = 10,000,000,000 pixels, at most 268,435,456"):
        decode_image(bomb)


def test_the_limit_can_be_set_and_includes_its_value() -> None:
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


def test_a_reduced_jpeg_is_upright_too() -> None:
    content = encode(picture(300, 400), "JPEG", exif=exif(6))
    assert decode_image(content, min_side=100).shape == (200, 150, 3)


@pytest.mark.slow
def test_100_megapixels_are_decoded_within_the_default_limit() -> None:
    content = encode(np.zeros((8736, 11648, 3), np.uint8), "JPEG")
    assert MAX_PIXELS >= 8736 * 11648
    assert decode_image(content, min_side=600).shape == (1092, 1456, 3)
    assert decode_image(content).shape == (8736, 11648, 3)
