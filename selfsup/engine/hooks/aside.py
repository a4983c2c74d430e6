"""Looking at a run without changing it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.engine.state import random_state, set_random_state
from selfsup.errors import DataError


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
        return self.method.features(images)


def view_side(runner: Any) -> int:
    """Side in pixels of the largest view the run trains on: what its backbone is used to.

    Raises:
        DataError: if no image can be decoded.
    """
    sample = runner.view_dataset[0, 0]
    if isinstance(sample, DataError):
        raise sample
    return sample["views"][0].shape[0]
