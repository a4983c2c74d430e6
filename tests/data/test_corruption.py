"""Corruptions: the records, the published parameters where they have a closed form, and where randomness comes from."""

from typing import Any

import cv2
import numpy as np
import pytest

from selfsup.data import IMAGENET_C, Corrupted, ImageNetC
from selfsup.data.corruption import STUDY, Jpeg, LowResolution, SaltAndPepper, Shrink
from selfsup.data.imagenet_c import _reflecting
from selfsup.errors import ConfigError
from tests.evaluation.pictures import Blobs
from tests.reference import record

RNG = np.random.default_rng
RAMP = np.tile(np.linspace(60, 200, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
PHOTO = cv2.GaussianBlur(RNG(0).integers(0, 256, (112, 112, 3), np.uint8), (0, 0), 2) // 2 + 60


def test_down_and_up_is_that_of_the_record() -> None:
    case = record("corrupt/downsample2x")
    image = np.repeat(np.array(case["input"]["img"])[..., None], 3, axis=2) * 10
    found = LowResolution(2)(image.astype(np.uint8), RNG(0))
    np.testing.assert_allclose(found[..., 0], np.array(case["expected"]["back"]) * 10)


def test_salt_and_pepper_changes_as_many_pixels_as_the_record_says() -> None:
    case = record("corrupt/salt_pepper")
    gray = np.full((224, 224, 3), 128, np.uint8)
    found = SaltAndPepper(case["input"]["p"])(gray, RNG(2))
    changed = (found != 128).any(axis=2)
    assert case["expected"]["lo"] <= changed.sum() <= case["expected"]["hi"]
    white = (found == 255).all(axis=2).sum()
    assert 0.4 < white / changed.sum() < 0.6 and (found[changed].max(axis=1) == found[changed].min(axis=1)).all()


def test_what_could_not_be_read_in_the_paper_is_marked() -> None:
    marked = {name: corruption.unverified for name, corruption in STUDY.items()}  # type: ignore[attr-defined]
    assert marked["jpeg"] == ("quality",) and marked["salt_and_pepper"] == ()
    assert set(marked) == {"resize", "downsample_2x", "downsample_4x", "jpeg", "salt_and_pepper", "blur"}
    assert Shrink(32)(RAMP, RNG(0)).shape == (32, 32, 3)
    assert np.abs(Jpeg(95)(PHOTO, RNG(0)).astype(int) - PHOTO).mean() < 4


@pytest.mark.parametrize("kind", IMAGENET_C)
def test_each_kind_keeps_the_size_writes_to_nothing_and_gets_worse(kind: str) -> None:
    before = PHOTO.copy()
    found = [ImageNetC(kind, severity)(PHOTO, RNG(1)) for severity in (1, 5)]
    assert all(each.shape == PHOTO.shape and each.dtype == np.uint8 for each in found)
    assert np.array_equal(PHOTO, before)
    slight, strong = (np.square(each.astype(float) - PHOTO).mean() for each in found)
    assert slight > 0.05
    # published ones that are no stronger by this measure: they bend, shift and darken in different ways
    if kind not in ("elastic_transform", "glass_blur", "frost"):
        assert strong > slight


def test_noises_have_the_published_strengths() -> None:
    gray = np.full((224, 224, 3), 128, np.uint8)
    noise = ImageNetC("gaussian_noise", 1)(gray, RNG(0)) / 255
    assert noise.std() == pytest.approx(0.08, rel=0.02)
    shot = ImageNetC("shot_noise", 1)(gray, RNG(0)) / 255
    assert shot.std() == pytest.approx(np.sqrt(128 / 255 / 60), rel=0.03)
    impulse = ImageNetC("impulse_noise", 3)(gray, RNG(0))
    assert (impulse != 128).mean() == pytest.approx(0.09, rel=0.05)


def test_contrast_and_brightness_are_their_formulas() -> None:
    image = RNG(0).integers(40, 120, (8, 8, 3), np.uint8)
    scaled = image / 255
    means = scaled.mean(axis=(0, 1))
    contrast = ImageNetC("contrast", 2)(image, RNG(0))
    np.testing.assert_allclose(contrast, ((scaled - means) * 0.3 + means) * 255, atol=1.01)
    bright = ImageNetC("brightness", 1)(image, RNG(0))
    hsv, brighter = (cv2.cvtColor(each, cv2.COLOR_RGB2HSV_FULL).astype(int) for each in (image, bright))
    np.testing.assert_allclose(brighter[..., 2], np.minimum(255, hsv[..., 2] + 25.5), atol=1.01)
    assert np.abs(brighter[..., 1] - hsv[..., 1]).mean() < 3


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur", "zoom_blur", "glass_blur"])
def test_blurs_change_nothing_in_an_even_image(kind: str) -> None:
    even = np.full((96, 96, 3), 90, np.uint8)
    assert np.abs(ImageNetC(kind, 5)(even, RNG(0)).astype(int) - 90).max() <= 1


def test_lengths_are_scaled_with_the_resolution() -> None:
    """A blur of an image of twice the size, made small again, is the blur of the small image."""
    large = cv2.resize(PHOTO, (448, 448), interpolation=cv2.INTER_CUBIC)
    for kind in ("defocus_blur", "zoom_blur"):
        small = ImageNetC(kind, 4)(cv2.resize(large, (224, 224), interpolation=cv2.INTER_AREA), RNG(0))
        again = cv2.resize(ImageNetC(kind, 4)(large, RNG(0)), (224, 224), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(float) - again)[16:-16, 16:-16].mean() < 1.5


def test_a_mirrored_gaussian_wider_than_the_image_keeps_an_even_field() -> None:
    np.testing.assert_allclose(_reflecting(10, 7.0).sum(axis=1), 1, rtol=1e-6)


def test_randomness_follows_from_the_name_alone() -> None:
    blobs, noise = Blobs(6), ImageNetC("gaussian_noise", 3)
    one, again = Corrupted(blobs, noise), Corrupted(blobs, noise)
    assert np.array_equal(one.image(4), again.image(4))
    renamed = Blobs(6, prefix="other")
    assert not np.array_equal(one.image(4), Corrupted(renamed, noise).image(4))
    assert not np.array_equal(one.image(4), Corrupted(blobs, noise, seed=1).image(4))
    assert (one.name(4), one.labels.tolist()) == (blobs.name(4), blobs.labels.tolist())


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (lambda: ImageNetC("fogg"), "kind"),
        (lambda: ImageNetC("fog", 6), "severity"),
        (lambda: LowResolution(1), "factor"),
        (lambda: Jpeg(0), "quality"),
        (lambda: SaltAndPepper(2), "p"),
    ],
)
def test_what_there_is_not_is_rejected(wrong: Any, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        wrong()
    assert error.value.problems[0].path == path
