"""Flips and quarter turns against NumPy."""

import numpy as np
import pytest

from selfsup.data.transforms import RandomHorizontalFlip, RandomRotate90
from selfsup.errors import ConfigError
from tests.data.pictures import picture


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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomHorizontalFlip(1.5), r"p: must be in \[0, 1\], got 1.5"),
        (lambda: RandomRotate90((0, 45)), r"angles: must be some of 0, 90, 180, 270, got \(0, 45\)"),
        (lambda: RandomRotate90(()), r"angles: must be some of 0, 90, 180, 270, got \(\)"),
    ],
)
def test_arguments_out_of_range_are_rejected(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
