"""MixUp and CutMix."""

import torch
from torch import Tensor


def mix(values: Tensor, order: Tensor, share: float) -> Tensor:
    """Mix every row of a batch with another row of it: ``share * values + (1 - share) * values[order]``.

    Args:
        values: images, targets or losses, shape (B, ...), floating point.
        order: a permutation of the rows, int64, shape (B,).
        share: of the row itself, in [0, 1].

    Returns:
        The shape of ``values``, in a new tensor.

    Source: Zhang et al. 2018, arXiv:1710.09412, section 2.
    """
    return values * share + values[order] * (1 - share)


def cut_window(height: int, width: int, share: float) -> tuple[slice, slice]:
    """A window at a random place, cut off at the edges, of ``1 - share`` of an image's area where it is not cut off.

    Args:
        height: of the image.
        width: of the image.
        share: of the area that is left, in [0, 1].

    Source: Yun et al. 2019, arXiv:1905.04899, section 3.1.
    """
    ratio = (1 - share) ** 0.5
    half_height, half_width = int(height * ratio) // 2, int(width * ratio) // 2
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    rows = slice(max(0, y - half_height), min(height, y + half_height))
    return rows, slice(max(0, x - half_width), min(width, x + half_width))


def cut(images: Tensor, order: Tensor, window: tuple[slice, slice]) -> tuple[Tensor, float]:
    """Put a window of another image of the batch into every image.

    Args:
        images: shape (B, C, H, W).
        order: a permutation of the images, int64, shape (B,).
        window: rows and columns that come from the other image.

    Returns:
        The images, in a new tensor, and the share of the area that an image keeps of itself.
    """
    rows, columns = window
    mixed = images.clone()
    mixed[..., rows, columns] = images[order][..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (images.shape[2] * images.shape[3])
