"""Transforms and view pipelines that each break one rule."""

import random
import threading
from typing import Any

import numpy as np

from tests.contracts.rejection import Broken
from tests.contracts.sound import Darken, TwoCrops

Image, Rng = np.ndarray, np.random.Generator


class Locked(Darken):
    def __init__(self) -> None:
        self.lock = threading.Lock()


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


class Counts(Darken):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: Image, rng: Rng) -> Image:
        self.calls += 1
        return image // np.uint8(self.calls)


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


class WritesAnyway(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        image[0, 0] = image[0, 0]
        return super().__call__(image, rng)


class LooksAtFlags(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(1 if image.flags.writeable else 2)


class Contiguous(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        if not image.flags.c_contiguous:
            raise BufferError("not contiguous")
        return super().__call__(image, rng)


class InMemoryOrder(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image.ravel("K").reshape(image.shape)


class Nothing(TwoCrops):
    def __call__(self, image: Image, rng: Rng) -> list[Image]:
        return []


class AsTuple(Darken):
    def __call__(self, image: Image, rng: Rng) -> tuple[Image, Image]:  # type: ignore[override]
        return image, image


class ToFloat(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image / 255


class AddsAlpha(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return np.dstack([image, image[..., :1]])


class Empty(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image[:0]


class ThreeCrops(TwoCrops):
    num_views = 3


class AnySize(TwoCrops):
    def __call__(self, image: Image, rng: Rng) -> list[Image]:
        size = int(rng.integers(4, 8))
        return [np.resize(image, (size, size, 3))] * 2


class Still(Darken):
    def __call__(self, image: Image, rng: Rng) -> Image:
        return image // np.uint8(2)


TRANSFORMS = [
    Broken(int, "must be callable with an image and rng"),
    Broken(Locked, "must be copyable"),
    Broken(Unpicklable, "must survive pickle"),
    Broken(Large, "must take a uint8 image of shape (1, 1, 3): ValueError: too small"),
    Broken(Global, "must not draw from a global random generator"),
    Broken(Seeded, "must not read a global random generator"),
    Broken(InPlace, "must not write to its input"),
    Broken(Counts, "must give the same for the same image and the same rng"),
    Broken(LosesItsStrength, "must give the same after pickle"),
    Broken(OneBuffer, "must give an array of its own each time"),
    Broken(WritesAnyway, "not writable or not contiguous (read-only): ValueError: assignment destination"),
    Broken(LooksAtFlags, "must give the same for an image that is not writable or not contiguous (read-only)"),
    Broken(Contiguous, "not contiguous (mirrored): BufferError"),
    Broken(InMemoryOrder, "must give the same for an image that is not writable or not contiguous (turned)"),
    Broken(Nothing, "must give at least one view"),
    Broken(AsTuple, "must give NumPy arrays, got tuple"),
    Broken(ToFloat, "must give uint8, got float64"),
    Broken(AddsAlpha, "must give images of shape (height, width, 3), got (37, 23, 4)"),
    Broken(Empty, "must give images of shape (height, width, 3), got (0, 23, 3)"),
    Broken(ThreeCrops, "num_views says 3, but 2 came out"),
    Broken(AnySize, "its views must have the same sizes every time"),
    Broken(Darken, "must not draw from rng, but gives something else", options={"varies": False}),
    Broken(Still, "must draw from rng, but gives the same whatever its state", options={"varies": True}),
]
