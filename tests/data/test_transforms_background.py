"""Fresh backgrounds behind cut-out objects."""

import numpy as np
import pytest

from selfsup.data.transforms import FreshBackground, FreshFlatBackground
from selfsup.data.transforms.background import lay_on
from selfsup.errors import ConfigError
from tests.data.pictures import picture

KINDS = ("flat", "gradient", "photo", "noise")


def cut_out() -> np.ndarray:
    """A red square, opaque in the middle, half transparent around it, transparent outside."""
    image = np.zeros((40, 48, 4), np.uint8)
    image[..., 0] = 255
    image[8:32, 8:40, 3] = 128
    image[14:26, 14:34, 3] = 255
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_the_object_stays_and_the_background_is_new_every_time(kind: str) -> None:
    transform, rng, image = FreshBackground((kind,)), np.random.default_rng(0), cut_out()
    first, second = transform(image, rng), transform(image, rng)
    for view in (first, second):
        assert view.shape == (40, 48, 3)
        assert view.dtype == np.uint8
        assert (view[14:26, 14:34] == (255, 0, 0)).all()
    outside = image[..., 3] == 0
    assert np.abs(first[outside].astype(int) - second[outside]).mean() > 3
    again = FreshBackground((kind,))(image, np.random.default_rng(0))
    np.testing.assert_array_equal(again, first)


def test_flat_is_one_color_and_the_others_are_not() -> None:
    for kind in KINDS:
        background = FreshBackground((kind,))(np.zeros((32, 32, 4), np.uint8), np.random.default_rng(3))
        assert (len(np.unique(background.reshape(-1, 3), axis=0)) == 1) == (kind == "flat")


def test_compositing_agrees_with_exact_arithmetic() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 20, 4), dtype=np.uint8)
    background = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    alpha = image[..., 3:] / 255
    expected = image[..., :3] * alpha + background * (1 - alpha)
    assert np.abs(lay_on(image, background) - expected).max() <= 0.51


def test_every_kind_is_drawn() -> None:
    transform, image = FreshBackground(("flat", "noise")), np.zeros((16, 16, 4), np.uint8)
    rng = np.random.default_rng(0)
    flat = sum(len(np.unique(transform(image, rng).reshape(-1, 3), axis=0)) == 1 for _ in range(400)) / 400
    assert flat == pytest.approx(0.5, abs=0.1)


def test_an_image_without_alpha_passes_unchanged() -> None:
    image = picture(20, 30)
    assert FreshBackground()(image, np.random.default_rng(0)) is image


def test_unknown_kinds_are_rejected() -> None:
    with pytest.raises(ConfigError, match=r"kinds: must be one of .* did you mean 'gradient'"):
        FreshBackground(("gradiant",))
    with pytest.raises(ConfigError, match="must be a list of kinds, got 'flat'"):
        FreshBackground("flat")
    with pytest.raises(ConfigError, match="must be a list of kinds"):
        FreshBackground(())


def test_a_flat_background_is_another_one_and_what_it_surrounds_stays() -> None:
    image = np.full((20, 24, 3), (10, 200, 30), np.uint8)
    image[6:14, 6:18] = (250, 0, 0)
    image[9:11, 9:15] = (10, 200, 30)  # a hole of the background's color belongs to the object
    image[5, 6:18] = (130, 100, 15)  # half of either
    before = image.copy()
    transform, rng = FreshFlatBackground(), np.random.default_rng(0)
    first, second = transform(image, rng), transform(image, rng)
    assert (image == before).all()
    for view in (first, second):
        new = view[0, 0].astype(int)
        assert (view[:4] == new).all() and (view[16:] == new).all()
        assert (view[7:13, 7:17] == image[7:13, 7:17]).all()
        assert np.abs(view[5, 7:17] - (new + image[7, 8]) / 2).max() <= 1
    assert (first[0, 0] != second[0, 0]).any()


def test_an_image_without_a_flat_background_passes() -> None:
    image = picture(40, 40)
    assert FreshFlatBackground()(image, np.random.default_rng(0)) is image
