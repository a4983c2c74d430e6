"""The newest keys of past batches, each kept for the same number of steps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RingBuffer(nn.Module):
    """Rows that newer ones overwrite, the oldest first; saved with the model.

    It starts with random directions. Every process must start with the same ones, which the common seed sees to, and
    push the same rows: then all of them hold the same buffer.

    Args:
        length: number of rows Q, >= 1.
        dim: features of a row D.

    Attributes:
        rows: shape (Q, D), of unit length at first.
        pointer: where the next row goes, a 0-dim integer tensor.

    Source: He et al. 2019, arXiv:1911.05722, section 3.2; facebookresearch/moco builder.py.
    """

    rows: Tensor
    pointer: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        if length < 1 or dim < 1:
            raise ValueError(f"RingBuffer: length and dim must be >= 1, got {length} and {dim}")
        self.register_buffer("rows", F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Overwrite the oldest rows.

        Args:
            rows: shape (N, D), N <= Q.

        Raises:
            ValueError: if there are more rows than places.
        """
        length = len(self.rows)
        if len(rows) > length:
            raise ValueError(f"RingBuffer.push: {len(rows)} rows do not fit into {length}")
        places = (self.pointer + torch.arange(len(rows), device=self.rows.device)) % length
        self.rows[places] = rows.detach().to(self.rows.dtype)
        self.pointer.add_(len(rows)).remainder_(length)
