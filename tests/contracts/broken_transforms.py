"""Transforms and view pipelines that each break one rule."""

import random
from typing import Any

import numpy as np

from tests.contracts.rejection import Broken
from tests.contracts.sound import Darken, TwoCrops

Image, Rng = np.ndarray, np.random.Generator


class Unpicklable(Darken):
    def __init__(self) -> None:
        self.rule = lambda image: image


class Large(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        if min(image.shape[:2]) < 8:
            raise ValueError("too small")
        return super().__call__(image, rng)


class Global(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(1 + np.random.randint(3))


class Seeded(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(1 + random.getstate()[1][5] % 3)


class InPlace(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        image //= np.uint8(2)
        return image


class LosesItsStrength(Darken):
    def __init__(self) -> None:
        self.strength = 2

    def __getstate__(self) -> dict[str, Any]:
        return {"strength": 1}

    def __deepcopy__(self, memo: Any) -> "LosesItsStrength":
        return LosesItsStrength()

    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(self.strength)


class OneBuffer(Darken):
    """Every result is written where the one before lies."""

    def __init__(self) -> None:
        self.buffer: Image = np.zeros((0, 0, 3), np.uint8)

    def __call__(self, image: Image, rng: Rng) -> Image:
        if self.buffer.shape != image.shape:
            self.buffer = np.empty(image.shape, np.uint8)
        self.buffer[...] = image // 2
        return self.buffer


class InMemoryOrder(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image.ravel("K").reshape(image.shape)


class Nothing(TwoCrops):
    def __call__(self, image: Image, rng: Rng) -> list[Image]:
        return []


class ToFloat(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image / 255


class ThreeCrops(TwoCrops):
    num_views = 3


class AnySize(TwoCrops):
    def __call__(self, image: Image, rng: Rng) -> list[Image]:
        size = int(rng.integers(4, 8))
        return [np.resize(image, (size, size, 3))] * 2


class Still(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(2)


class NoNegativeStrides(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        if min(image.strides) < 0:
            raise ValueError("negative strides")
        return super().__call__(image, rng)


TRANSFORMS = [
    Broken(int, "must be callable with an image and rng"),
    Broken(Unpicklable, "must survive pickle"),
    Broken(Large, "must take a uint8 image of shape (1, 1, 3): ValueError: too small"),
    Broken(Global, "must not draw from a global random generator"),
    Broken(Seeded, "must give the same for the same image and the same rng"),
    Broken(InPlace, "must not write to its input"),
    Broken(LosesItsStrength, "must give the same after pickle"),
    Broken(OneBuffer, "must give an array of its own each time"),
    Broken(NoNegativeStrides, "must take an image that is not contiguous: ValueError: negative strides"),
    Broken(InMemoryOrder, "must give the same for an image that is not contiguous"),
    Broken(Nothing, "must give at least one view"),
    Broken(ToFloat, "must give uint8 arrays of shape (H, W, 3), got float64 (37, 23, 3)"),
    Broken(ThreeCrops, "num_views says 3, but 2 came out"),
    Broken(AnySize, "its views must have the same sizes every time"),
    Broken(Darken, "varies=False, but gives something else", options={"varies": False}),
    Broken(Still, "varies=True, but gives the same", options={"varies": True}),
]
