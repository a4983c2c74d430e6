"""Crops, resizes, flips and quarter turns against Pillow, torchvision and NumPy; backgrounds."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from selfsup.data.transforms import (
    CenterCrop,
    FreshBackground,
    FreshFlatBackground,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
)
from selfsup.data.transforms.background import lay_on
from selfsup.data.transforms.geometry import resize
from selfsup.errors import DataError
from tests.data.pictures import picture

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 100), (40, 190), (160, 90), (200, 60), (300, 320)])
def test_resize_agrees_with_pillow_to_two_levels(height: int, width: int, interpolation: str) -> None:
    image = picture(160, 200)
    expected = np.asarray(Image.fromarray(image).resize((width, height), PILLOW[interpolation]))
    difference = resize(image, height, width, interpolation=interpolation).astype(int) - expected
    assert np.abs(difference).max() <= (1 if interpolation == "bilinear" else 4)
    assert np.abs(difference).mean() < 0.3


def test_resize_takes_read_only_images_and_windows_of_images() -> None:
    image = picture(160, 200)
    image.setflags(write=False)
    window = image[11:131, 7:150]
    expected = np.asarray(Image.fromarray(window).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(resize(window, 64, 64).astype(int) - expected).max() <= 1


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    inside = resize(stripes, 32, 32)[:, 2:-2].astype(int)
    assert np.abs(inside - 127).max() <= 1


@pytest.mark.parametrize(("height", "width", "scale"), [(480, 640, (0.14, 1.0)), (300, 200, (0.05, 0.14))])
def test_windows_are_distributed_as_torchvision_draws_them(height: int, width: int, scale: tuple[float, float]) -> None:
    crop, rng, draws = RandomResizedCrop(96, scale), np.random.default_rng(0), 6000
    torch.manual_seed(0)
    meta = torch.empty(3, height, width, device="meta")
    actual = np.array([crop.window(height, width, rng) for _ in range(draws)], float)
    theirs = [v1.RandomResizedCrop.get_params(meta, list(scale), [3 / 4, 4 / 3]) for _ in range(draws)]
    expected = np.array(theirs, float)
    for a, b in zip(_window_statistics(actual).T, _window_statistics(expected).T, strict=True):
        assert _kolmogorov_smirnov(a, b) < 1.95 * np.sqrt(2 / draws)  # 0.1 % point


def _window_statistics(windows: np.ndarray) -> np.ndarray:
    top, left, height, width = windows.T
    return np.stack([height * width, np.log(width / height), top, left, top + height, left + width], axis=1)


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    values = np.sort(np.concatenate([a, b]))
    below_a = np.searchsorted(np.sort(a), values, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), values, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


@pytest.mark.parametrize(("height", "width"), [(20, 200), (200, 20), (1, 1), (7, 9)])
def test_the_window_of_last_resort_is_torchvisions(height: int, width: int) -> None:
    crop = RandomResizedCrop(32, (2.0, 2.0))  # never fits
    expected = v1.RandomResizedCrop.get_params(torch.empty(3, height, width), [2.0, 2.0], [3 / 4, 4 / 3])
    assert crop.window(height, width, np.random.default_rng(0)) == expected


@pytest.mark.parametrize(("height", "width", "size"), [(160, 200, 64), (201, 160, 77), (40, 60, 90)])
def test_resizing_the_short_side_keeps_torchvisions_shape(height: int, width: int, size: int) -> None:
    image, rng = picture(height, width), np.random.default_rng(0)
    expected = np.asarray(v1.Resize(size)(Image.fromarray(image)))
    actual = Resize(size)(image, rng)
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= 1
    crop = CenterCrop(size - 5)(actual, rng)
    np.testing.assert_array_equal(crop, np.asarray(v1.CenterCrop(size - 5)(Image.fromarray(actual))))
    assert Resize((30, 50))(image, rng).shape == (30, 50, 3)
    for shape in ((1, 1, 3), (2, 300, 3), (5, 7, 4)):
        view = RandomResizedCrop(16)(np.zeros(shape, np.uint8), rng)
        assert view.shape == (16, 16, shape[2]) and view.dtype == np.uint8


@pytest.mark.parametrize("crop", [CenterCrop(64), RandomCrop(64)], ids=lambda crop: type(crop).__name__)
def test_a_square_larger_than_the_image_is_rejected(crop: CenterCrop | RandomCrop) -> None:
    name = type(crop).__name__
    with pytest.raises(DataError, match=rf"{name}: the image must be at least 64 x 64, got 70 x 50; put Resize\(64\)"):
        crop(picture(50, 70), np.random.default_rng(0))


def test_a_random_crop_lies_in_every_place_equally_often() -> None:
    rows, columns = np.mgrid[:7, :9].astype(np.uint8)
    image, rng, draws = np.dstack([rows, columns, rows]), np.random.default_rng(0), 6000
    counts = np.zeros((4, 6))
    for _ in range(draws):
        crop = RandomCrop(4)(image, rng)
        top, left = crop[0, 0, :2]
        np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 4])
        counts[top, left] += 1
    assert np.abs(counts / draws - 1 / 24).max() < 5 * np.sqrt(1 / 24 / draws)
    np.testing.assert_array_equal(RandomCrop(7)(image[:, :7], rng), image[:, :7])


def test_flip_mirrors_and_leaves_its_input_alone() -> None:
    image, rng = picture(20, 31), np.random.default_rng(0)
    before = image.copy()
    np.testing.assert_array_equal(RandomHorizontalFlip(1.0)(image, rng), image[:, ::-1])
    np.testing.assert_array_equal(RandomHorizontalFlip(0.0)(image, rng), image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("height", "width"), [(20, 31), (16, 16), (1, 5)])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_turns_are_numpys(angle: int, height: int, width: int) -> None:
    image = picture(height, width)
    turned = RandomRotate90((angle,))(image, np.random.default_rng(0))
    np.testing.assert_array_equal(turned, np.rot90(image, angle // 90))


@pytest.mark.parametrize("angles", [(0, 90, 180, 270), (90, 180, 270), [180, 0]])
def test_every_angle_is_drawn_equally_often(angles: list[int]) -> None:
    image, rng, draws = np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.random.default_rng(0), 3000
    rotate = RandomRotate90(angles)
    corners = {int(np.rot90(image, angle // 90)[0, 0, 0]): angle for angle in (0, 90, 180, 270)}
    drawn = [corners[int(rotate(image, rng)[0, 0, 0])] for _ in range(draws)]
    assert set(drawn) == set(angles)
    share = 1 / len(angles)
    for angle in angles:
        assert drawn.count(angle) / draws == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / draws))


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
    transform, rng = FreshBackground(("flat", "noise")), np.random.default_rng(0)
    image = np.zeros((16, 16, 4), np.uint8)
    flat = sum(len(np.unique(transform(image, rng).reshape(-1, 3), axis=0)) == 1 for _ in range(400)) / 400
    assert flat == pytest.approx(0.5, abs=0.1)
    assert transform(opaque := image[..., :3], rng) is opaque  # without alpha


def test_compositing_agrees_with_exact_arithmetic() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 20, 4), dtype=np.uint8)
    background = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    alpha = image[..., 3:] / 255
    expected = image[..., :3] * alpha + background * (1 - alpha)
    assert np.abs(lay_on(image, background) - expected).max() <= 0.51


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
