"""MixUp."""

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
