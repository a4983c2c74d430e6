"""Whole pipelines are distributed like the reference code's: Pillow and torchvision v1, NumPy where they differ."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as v1
from torchvision.transforms import functional

from selfsup.data.views.method_views import BYOLViews, MoCoViews, SimCLRViews, SwAVViews
from selfsup.data.views.multi_view import MultiView
from selfsup.data.views.single_view import BiTViews, SupervisedViews
from tests.data.pictures import assert_same_distribution, picture, sample, statistics_of

Step = Callable[[Image.Image], Image.Image]
DRAWS = 1200
SIZE = 40
BICUBIC = v1.InterpolationMode.BICUBIC


class Sometimes:
    """Do a step with probability ``p``; it gets the generator."""

    def __init__(self, p: float, step: Callable[[Image.Image, np.random.Generator], Image.Image]) -> None:
        self.p, self.step, self.rng = p, step, np.random.default_rng(1)

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.step(image, self.rng) if self.rng.random() < self.p else image


def pillow_blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The blur of the PyTorch papers."""
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))


def truncated_blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The blur of the TensorFlow and JAX papers: the Gaussian ends after a twentieth of the height."""
    radius = int(image.height / 10 / 2)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * rng.uniform(0.1, 2.0) ** 2))
    weights /= weights.sum()
    values = np.pad(np.asarray(image, np.float64), ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    rows = sum(w * values[k : k + image.height] for k, w in enumerate(weights))
    blurred = sum(w * rows[:, k : k + image.width] for k, w in enumerate(weights))
    return Image.fromarray(np.round(blurred).astype(np.uint8))


def solarize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Invert what is 128 or brighter."""
    return ImageOps.solarize(image)


def byol_jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """BYOL's four steps in random order, the brightness additive."""

    def brightness(image: Image.Image) -> Image.Image:
        moved = np.clip(np.asarray(image) / 255 + rng.uniform(-0.4, 0.4), 0, 1)
        return Image.fromarray(np.round(255 * moved).astype(np.uint8))

    steps: list[Step] = [
        brightness,
        lambda image: functional.adjust_contrast(image, rng.uniform(0.6, 1.4)),
        lambda image: functional.adjust_saturation(image, rng.uniform(0.8, 1.2)),
        lambda image: functional.adjust_hue(image, rng.uniform(-0.1, 0.1)),
    ]
    for number in rng.permutation(4):
        image = steps[number](image)
    return image


def crop(low: float, interpolation: v1.InterpolationMode = v1.InterpolationMode.BILINEAR) -> Step:
    return v1.RandomResizedCrop(SIZE, scale=(low, 1.0), interpolation=interpolation)


def jitter(brightness: float, saturation: float, hue: float) -> Step:
    return v1.RandomApply([v1.ColorJitter(brightness, brightness, saturation, hue)], p=0.8)


FLIP, GRAY = v1.RandomHorizontalFlip(), v1.RandomGrayscale(0.2)


def swav(low: float) -> list[list[Step]]:
    return [[crop(low), FLIP, jitter(0.8, 0.8, 0.2), GRAY, Sometimes(0.5, pillow_blur)]]


def byol(blur: float, solarized: float) -> list[Step]:
    end = [Sometimes(blur, truncated_blur), Sometimes(solarized, solarize)]
    return [crop(0.08, BICUBIC), FLIP, Sometimes(0.8, byol_jitter), GRAY, *end]


def moco_3(blur: float, solarized: float) -> list[Step]:
    end = [Sometimes(blur, pillow_blur), Sometimes(solarized, solarize), FLIP]
    return [crop(0.2), jitter(0.4, 0.2, 0.1), GRAY, *end]


SIMCLR = [crop(0.08, BICUBIC), FLIP, jitter(0.8, 0.8, 0.2)]
MOCO_2 = [crop(0.2), jitter(0.4, 0.4, 0.1), GRAY, Sometimes(0.5, pillow_blur), FLIP]
BIT = [v1.RandomResizedCrop(SIZE, scale=(0.05, 1.0), ratio=(0.75, 1.33)), FLIP]
PIPELINES: dict[str, tuple[MultiView, list[list[Step]]]] = {
    "SwAV": (SwAVViews((SIZE,), (2,), scales=((0.14, 1.0),)), swav(0.14)),
    "SEER, fine-tuning": (SwAVViews((SIZE,), (1,), scales=((0.08, 1.0),)), swav(0.08)),
    "SimCLR": (SimCLRViews(SIZE), [[*SIMCLR, GRAY, Sometimes(0.5, truncated_blur)]]),
    "MoCo v1": (MoCoViews(SIZE, 1), [[crop(0.2), GRAY, v1.ColorJitter(0.4, 0.4, 0.4, 0.4), FLIP]]),
    "MoCo v2": (MoCoViews(SIZE, 2), [MOCO_2]),
    "MoCo v3": (MoCoViews(SIZE, 3), [moco_3(1.0, 0.0), moco_3(0.1, 0.2)]),
    "BYOL": (BYOLViews(SIZE), [byol(1.0, 0.0), byol(0.1, 0.2)]),
    "supervised": (SupervisedViews(SIZE), [[crop(0.08), FLIP, v1.ColorJitter(0.4, 0.4, 0.4, 0.4)]]),
    "BiT": (BiTViews(SIZE), [BIT]),
}


@cache
def ours(name: str) -> list[np.ndarray]:
    """Statistics of our views, for each kind of view the reference tells apart."""
    views, kinds = PIPELINES[name]
    image, rng = picture(96, 128), np.random.default_rng(0)
    each = views.num_views // len(kinds)
    drawn = [views(image, rng) for _ in range(DRAWS // each)]
    return [
        statistics_of(np.stack([view for made in drawn for view in made[kind * each : (kind + 1) * each]]))
        for kind in range(len(kinds))
    ]


@cache
def theirs(name: str) -> list[np.ndarray]:
    """Statistics of the reference's views."""
    image = Image.fromarray(picture(96, 128))
    torch.manual_seed(0)
    return [sample(lambda steps=steps: np.asarray(in_turn(steps, image)), DRAWS) for steps in PIPELINES[name][1]]


def in_turn(steps: Sequence[Step], image: Image.Image) -> Image.Image:
    for step in steps:
        image = step(image)
    return image


@pytest.mark.parametrize("name", PIPELINES)
def test_every_view_is_distributed_as_the_references(name: str) -> None:
    for actual, expected in zip(ours(name), theirs(name), strict=True):
        assert_same_distribution(actual, expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("BYOL", 0), ("BYOL", 1)),
        (("MoCo v3", 1), ("MoCo v3", 0)),
        (("MoCo v3", 1), ("BYOL", 1)),
        (("MoCo v1", 0), ("supervised", 0)),
        (("SimCLR", 0), ("SEER, fine-tuning", 0)),
        (("SwAV", 0), ("MoCo v2", 0)),
        (("BiT", 0), ("MoCo v2", 0)),
    ],
)
def test_the_comparison_tells_the_pipelines_apart(first: tuple[str, int], second: tuple[str, int]) -> None:
    with pytest.raises(AssertionError, match="differ by"):
        assert_same_distribution(ours(first[0])[first[1]], theirs(second[0])[second[1]])
