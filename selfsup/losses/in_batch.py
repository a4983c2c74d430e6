"""What SimCLR's losses have in common: every view of the global batch is compared with every other."""

import torch
from torch import Tensor

from selfsup.ops.dist import gather_with_gradient, rank, world_size
from selfsup.ops.precision import at_least_float32
from selfsup.ops.similarity import l2_normalize


def anchors_and_keys(z_a: Tensor, z_b: Tensor, *, normalize: bool, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The own views as anchors and the views of all processes as keys, gathered with gradient.

    Args:
        z_a: embeddings of the first views, shape (B, D); every process has the same B.
        z_b: embeddings of the second views of the same images, shape (B, D).
        normalize: whether embeddings are brought to length 1.
        name: of the loss, for the error.

    Returns:
        Anchors (2B, D), keys (2N, D), and for each anchor the numbers of itself and of its positive among the keys,
        int64 (2B,).

    Raises:
        ValueError: if the shapes differ.
    """
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(
            f"{name}: both views must have the same shape (B, D), got {tuple(z_a.shape)} and {tuple(z_b.shape)}"
        )
    prepared = l2_normalize if normalize else at_least_float32
    a, b = prepared(z_a), prepared(z_b)
    batch = len(a)
    keys = torch.cat([gather_with_gradient(a), gather_with_gradient(b)])
    first = torch.arange(batch, device=a.device) + rank() * batch
    second = first + world_size() * batch
    return torch.cat([a, b]), keys, torch.cat([first, second]), torch.cat([second, first])
