"""Baselines that have learned nothing: what a score must be compared with."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from selfsup.errors import require

_DIRECTIONS = 8  # of edges, in half a turn
_STEPS = 8  # of the histograms


class RawPixels(nn.Module):
    """A "backbone" whose features are the pixels themselves, averaged down to a small square.

    Args:
        size: side of the square in pixels, > 0; the features are its 3 * size * size values.

    Raises:
        ValueError: if ``size`` is not positive.
    """

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        require(size >= 1, "size", "must be > 0", got=size)
        self.size = size
        self.out_dim = 3 * size * size

    def extra_repr(self) -> str:
        """The settings, by which features in a cache are told apart."""
        return f"size={self.size}"

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, 3 * size * size)."""
        return adaptive_avg_pool2d(images, self.size).flatten(1)


class ImageStatistics(nn.Module):
    """A "backbone" of hand-made numbers: colors and edges of an image, without anything learned.

    Of each field of a grid: mean and standard deviation of every channel, and the share of the edges in each of eight
    directions, weighted by their strength. Of the whole image: a histogram of every channel, of 8 steps within two
    standard deviations of the data set's mean.

    Args:
        grid: fields along each side, > 0; images must be at least twice as large.

    Raises:
        ValueError: if ``grid`` is not positive.
    """

    def __init__(self, grid: int = 4) -> None:
        super().__init__()
        require(grid >= 1, "grid", "must be > 0", got=grid)
        self.grid = grid
        self.out_dim = (3 + 3 + _DIRECTIONS) * grid * grid + 3 * _STEPS

    def extra_repr(self) -> str:
        """The settings, by which features in a cache are told apart."""
        return f"grid={self.grid}"

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to features (B, 14 * grid * grid + 24)."""
        mean = adaptive_avg_pool2d(images, self.grid)
        variance = adaptive_avg_pool2d(images.square(), self.grid) - mean.square()
        gray = images.mean(1, keepdim=True)
        across = (gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]) / 2
        down = (gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]) / 2
        direction = torch.atan2(down, across).remainder(math.pi).mul(_DIRECTIONS / math.pi).long() % _DIRECTIONS
        strength = (across.square() + down.square()).sqrt()
        edges = adaptive_avg_pool2d(one_hot(direction[:, 0], _DIRECTIONS).movedim(3, 1) * strength, self.grid)
        edges = edges / edges.sum(1, keepdim=True).clamp_min(1e-6)
        step = images.add(2).mul(_STEPS / 4).long().clamp(0, _STEPS - 1).flatten(2)
        histogram = one_hot(step, _STEPS).float().mean(2)
        parts = (mean, variance.clamp_min(0).sqrt(), edges, histogram)
        return torch.cat([part.flatten(1) for part in parts], dim=1)
