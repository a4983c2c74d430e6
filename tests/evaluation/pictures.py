"""A data set small enough to compute by hand."""

import numpy as np

from selfsup.errors import DecodeError


class Blobs:
    """Images whose color tells their class, with noise; some of them cannot be decoded."""

    def __init__(
        self,
        count: int = 60,
        *,
        num_classes: int = 3,
        side: int = 16,
        labelled: bool = True,
        bad: tuple[int, ...] = (),
        noise: float = 60.0,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._labels = np.arange(count, dtype=np.int64) % num_classes
        levels = np.random.default_rng(99).uniform(60, 190, (num_classes, 3))
        pixels = levels[self._labels][:, None, None] + rng.normal(0, noise, (count, side, side, 3))
        self.pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        self.labels = self._labels if labelled else None
        self.classes = [f"class {number}" for number in range(num_classes)] if labelled else None
        self.bad = bad

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise DecodeError(f"image {index} is broken")
        return self.pixels[index]

    def name(self, index: int) -> str:
        return f"blob {index}"
