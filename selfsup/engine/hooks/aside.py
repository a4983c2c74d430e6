"""Looking at a run without changing it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.engine.state import random_state, set_random_state


@contextmanager
def beside_training(device: torch.device, *, seed: int = 0) -> Iterator[None]:
    """What happens inside has random numbers of its own; training goes on as if it had not happened.

    Args:
        device: where the run trains.
        seed: of the generators inside, so that looking twice shows the same.
    """
    state = random_state(device)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(state, device)


class FrozenFeatures(nn.Module):
    """A method seen as a backbone: normalised images in, the method's features out.

    Args:
        method: what is being trained.
    """

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, D)."""
        return self.method([images], mode="features")  # the call gathers weights that are split over processes


def said_already(_: str) -> None:
    """Hears which images cannot be decoded where training or an evaluation has named them."""


def view_side(views: Any) -> int:
    """Side in pixels of the largest view a pipeline draws: what a backbone trained on it is used to.

    Args:
        views: a view pipeline; it is shown a grey square, so that no data are read.
    """
    grey = np.full((64, 64, 3), 127, np.uint8)
    return views(grey, np.random.default_rng(0))[0].shape[0]
