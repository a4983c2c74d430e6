"""Color steps against Pillow, torchvision and the standard library's colorsys."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import functional

from selfsup.data.transforms import ColorJitter, Solarize
from selfsup.data.transforms.color import (
    add_brightness,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    shift_hue,
    to_gray,
)
from tests.data.pictures import picture
from tests.reference import record


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(("ours", "pillow"), [(adjust_brightness, ImageEnhance.Brightness),
                                              (adjust_contrast, ImageEnhance.Contrast),
                                              (adjust_saturation, ImageEnhance.Color)])  # fmt: skip
def test_fixed_factors_agree_with_pillow_to_one_level(ours, pillow, number: int) -> None:
    image = picture(120, 150, number)
    for factor in (0.2, 0.7, 1.0, 1.3, 1.8):
        difference = ours(image, factor).astype(int) - np.asarray(pillow(Image.fromarray(image)).enhance(factor))
        assert np.abs(difference).max() <= 1
        assert abs(difference.mean()) < 0.2


@pytest.mark.parametrize("offset", [-1.0, -0.3, 0.0, 0.4])
def test_additive_brightness_adds_and_clips(offset: float) -> None:
    image = picture(60, 50)
    expected = np.clip(image / 255 + offset, 0, 1) * 255
    assert np.abs(add_brightness(image, offset) - expected).max() <= 0.51


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("shift", [-0.5, -0.2, -0.05, 0.0, 0.1, 0.2, 0.4])
def test_hue_shift_agrees_with_exact_arithmetic_to_the_steps_of_eight_bits(shift: float, number: int) -> None:
    image = picture(60, 50, number)
    expected = np.empty(image.shape)
    for place in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[place] / 255))
        expected[place] = np.multiply(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value), 255)
    difference = shift_hue(image, shift) - expected
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(shift_hue(gray, shift), gray)  # has no hue
    step = 6 * 255 / 256  # levels of one step of hue on a fully saturated color
    assert np.abs(difference).max() < 0.5 * step + 0.5 * step + 1.5  # hue, shift, the rest
    assert np.abs(difference).mean() < 1


def test_gray_is_pillows_luma_in_three_channels() -> None:
    image = picture(90, 80)
    expected = np.asarray(Image.fromarray(image).convert("L")).astype(int)
    gray = to_gray(image)
    assert np.abs(gray - expected[..., None]).max() <= 1
    assert (gray[..., 0] == gray[..., 1]).all() and (gray[..., 1] == gray[..., 2]).all()


def test_solarize_agrees_with_the_record_and_with_pillow() -> None:
    rng = np.random.default_rng(0)
    expected = record("aug/solarize")
    values = np.round(np.array(expected["input"]["x"]) * 255 + 1e-9).astype(np.uint8)
    image = np.repeat(values[None, :, None], 3, axis=2)
    solarized = Solarize(1.0)(image, rng)[0, :, 0] / 255
    np.testing.assert_allclose(solarized, expected["expected"], atol=1 / 255)
    image = picture(40, 50)
    for threshold in (0, 64, 128, 256):
        np.testing.assert_array_equal(
            Solarize(1.0, threshold)(image, rng), np.asarray(ImageOps.solarize(Image.fromarray(image), threshold))
        )


@pytest.mark.parametrize(
    ("name", "jitter"),
    [
        ("simclr_s1", ColorJitter(0.8, 0.8, saturation=0.8, hue=0.2, p=1)),
        ("moco_v2", ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=1)),
        ("byol", ColorJitter(0.4, 0.4, saturation=0.2, hue=0.1, p=1, brightness_mode="additive")),
    ],
)
def test_amounts_span_the_papers_ranges(name: str, jitter: ColorJitter, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[float]] = {}

    def watch(step: str):
        return lambda image, amount: seen.setdefault(step, []).append(amount) or image

    for step in ("brightness", "contrast", "saturation"):
        monkeypatch.setitem(jitter._step.__globals__["_MULTIPLY"], step, watch(step))
    for function, step in (("shift_hue", "hue"), ("add_brightness", "brightness_add")):
        monkeypatch.setattr(f"selfsup.data.transforms.color.{function}", watch(step))
    rng, image = np.random.default_rng(0), np.zeros((2, 2, 3), np.uint8)
    for _ in range(3000):
        jitter(image, rng)
    expected = record("aug/jitter_ranges")["expected"][name]
    assert set(seen) == set(expected)
    for step, (low, high) in expected.items():
        assert len(seen[step]) == 3000
        assert low <= min(seen[step]) < low + 0.005 * (high - low)
        assert high >= max(seen[step]) > high - 0.005 * (high - low)
        assert np.mean(seen[step]) == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_a_given_order_is_kept() -> None:
    image, steps = picture(32, 32, 2), ("brightness", "contrast", "saturation", "hue")
    draws = np.random.default_rng(5).random(9)[1:5]
    amounts = dict(zip(steps, (*(0.2 + 1.6 * draws[:3]), 0.4 * draws[3] - 0.2), strict=True))
    results = []
    for order in (steps, steps[::-1]):
        expected = Image.fromarray(image)
        for step in order:
            expected = getattr(functional, f"adjust_{step}")(expected, amounts[step])
        jitter = ColorJitter(0.8, 0.8, saturation=0.8, hue=0.2, p=1.0, order=order)
        results.append(jitter(image, np.random.default_rng(5)).astype(int))
        assert np.abs(results[-1] - np.asarray(expected)).mean() < 2
    assert np.abs(results[0] - results[1]).mean() > 5
