"""What every transform of one image must do, over all that are registered."""

from collections.abc import Callable

import numpy as np
import pytest

import selfsup.data  # noqa: F401  # registers them
from selfsup.registry import TRANSFORMS

ARGUMENTS: dict[str, dict[str, object]] = {
    "CenterCrop": dict(size=1),
    "ColorJitter": dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=1.0),
    "Cutout": dict(),
    "FreshBackground": dict(),
    "GaussianBlur": dict(sigma=(0.5, 2.0), p=1.0),
    "GaussianNoise": dict(p=1.0),
    "RandomCrop": dict(size=1),
    "RandomGray": dict(p=1.0),
    "RandomHorizontalFlip": dict(p=1.0),
    "RandomResizedCrop": dict(size=16),
    "RandomRotate90": dict(),
    "Resize": dict(size=16),
    "Sobel": dict(p=1.0),
    "Solarize": dict(p=1.0),
}
NOTHING_TO_DRAW = {"CenterCrop", "FreshBackground", "RandomGray", "RandomHorizontalFlip", "Resize", "Sobel", "Solarize"}

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: image.transpose(1, 0, 2),
    "every other pixel": lambda image: image[::2, ::2],
    "other channel order": lambda image: image[..., ::-1],
    "in Fortran's order": np.asfortranarray,
}


def built(name: str) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return TRANSFORMS.build(dict(type=name, **ARGUMENTS[name]))


def noise(height: int, width: int) -> np.ndarray:
    image = np.random.default_rng(9).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.setflags(write=False)
    return image


def test_every_transform_of_one_image_is_covered() -> None:
    ours = {name for name, kind in TRANSFORMS.module_dict.items() if kind.__module__.startswith("selfsup.data.trans")}
    assert ours == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (37, 23)], ids=str)
def test_uint8_comes_out_of_images_of_any_shape(name: str, shape: tuple[int, int]) -> None:
    made = built(name)(noise(*shape), np.random.default_rng(0))
    assert made.dtype == np.uint8
    assert made.ndim == 3
    assert made.shape[2] == 3
    assert min(made.shape) >= 1


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_in_memory_does_not_matter(name: str, layout: str) -> None:
    image = LAYOUTS[layout](noise(38, 46))
    made = built(name)(image, np.random.default_rng(0))
    np.testing.assert_array_equal(made, built(name)(np.ascontiguousarray(image), np.random.default_rng(0)))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_results_depend_on_the_generator_alone_and_the_image_stays(name: str) -> None:
    image = noise(38, 46).copy()
    before = image.copy()
    transform = built(name)
    results = [transform(image, np.random.default_rng(seed)).tobytes() for seed in (*range(8), 0)]
    np.testing.assert_array_equal(image, before)
    assert results[0] == results[-1]
    assert (len(set(results)) == 1) == (name in NOTHING_TO_DRAW)
