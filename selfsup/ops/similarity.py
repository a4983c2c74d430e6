"""Cosines, in float32 or better whatever autocast says."""

import torch.nn.functional as F
from torch import Tensor

from selfsup.ops.precision import at_least_float32, without_autocast


def l2_normalize(rows: Tensor) -> Tensor:
    """Rows of unit length, in float32 or better.

    Args:
        rows: shape (..., D); a zero row stays zero.

    Returns:
        The same shape.
    """
    return F.normalize(at_least_float32(rows), dim=-1)


def cosine_similarity_matrix(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of every row of ``a`` with every row of ``b``.

    Args:
        a: shape (A, D).
        b: shape (B, D).

    Returns:
        Shape (A, B), in [-1, 1], float32 or better.
    """
    with without_autocast(a):
        return l2_normalize(a) @ l2_normalize(b).T


def paired_cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row of ``a`` with the same row of ``b``.

    Args:
        a: shape (B, D).
        b: shape (B, D).

    Returns:
        Shape (B,), in [-1, 1], float32 or better.
    """
    return (l2_normalize(a) * l2_normalize(b)).sum(dim=-1)
