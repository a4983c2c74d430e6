"""A data set small enough to compute by hand."""

import numpy as np
import torch
from torch import Tensor

from selfsup.data.input_contract import InputContract
from selfsup.errors import DecodeError
from selfsup.evaluation import Features

SMALL = InputContract(size=16, resize="none", mean=(0, 0, 0), std=(1, 1, 1))
"""Images of 16 pixels as they are, in [0, 1]."""


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
        unlabelled: tuple[int, ...] = (),
        groups: int = 0,
        prefix: str = "blob",
        noise: float = 60.0,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._labels = np.arange(count, dtype=np.int64) % num_classes
        levels = np.random.default_rng(99).uniform(60, 190, (num_classes, 3))
        pixels = levels[self._labels][:, None, None] + rng.normal(0, noise, (count, side, side, 3))
        self.pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        self._labels[list(unlabelled)] = -1
        self.labels = self._labels if labelled else None
        self.groups = np.arange(count) // groups if groups else None
        self.prefix = prefix
        self.classes = [f"class {number}" for number in range(num_classes)] if labelled else None
        self.bad = bad

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise DecodeError(f"image {index} is broken")
        return self.pixels[index]

    def name(self, index: int) -> str:
        return f"{self.prefix} {index}"


def known(features: Tensor, labels: Tensor) -> Features:
    """Features with labels, of a source's images in their order."""
    return Features(features, torch.arange(len(features)), labels)
