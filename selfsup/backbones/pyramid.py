"""Maps at the strides of a detector from a network that keeps one resolution."""

import math

from torch import Tensor
from torch.nn import functional as F

from selfsup.backbones.base import STRIDES


def simple_pyramid(last: Tensor, height: int, width: int) -> list[Tensor]:
    """The last map enlarged bilinearly or averaged down to strides 4, 8, 16 and 32.

    This is the simple pyramid of Li et al. 2022, arXiv:2203.16527, section 3, without its learned layers.

    Args:
        last: shape (B, C, any, any).
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        Maps of shape (B, C, ceil(height / stride), ceil(width / stride)).
    """
    return [_resized(last, math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    if tuple(maps.shape[2:]) == (height, width):
        return maps
    if height > maps.shape[2]:
        return F.interpolate(maps, (height, width), mode="bilinear")
    return F.adaptive_avg_pool2d(maps, (height, width))
