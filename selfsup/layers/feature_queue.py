"""The newest features of past batches."""

from typing import Any

import torch
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """Queues of feature rows that advance together, newest first, saved with the model.

    Each process keeps its own rows. The buffers have the same size whatever the number of processes, so that a
    checkpoint loads on any; a process uses the first ``length`` rows.

    Args:
        num_queues: number of queues A.
        capacity: rows that each holds at most.
        dim: features of a row.

    Attributes:
        rows: shape (A, capacity, dim), float32, zero where nothing has been pushed.
        filled: how many leading rows of each queue hold features, a 0-dim integer tensor.
    """

    rows: Tensor
    filled: Tensor

    def __init__(self, num_queues: int, capacity: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_queues, capacity, dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self._full = 0  # rows known to hold features, so that a full queue is not asked at each step

    def is_full(self, length: int) -> bool:
        """Whether the first ``length`` rows all hold features."""
        if self._full < length and bool(self.filled >= length):
            self._full = length
        return self._full >= length

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._full = 0

    @torch.no_grad()
    def push(self, features: Tensor, *, length: int) -> None:
        """Put features at the front and forget what is then beyond ``length`` rows.

        Args:
            features: shape (A, B, dim).
            length: rows in use, at most the capacity.
        """
        newest = torch.cat([features.to(self.rows.dtype), self.rows[:, :length]], dim=1)[:, :length]
        self.rows[:, :length] = newest
        self.filled.add_(features.shape[1]).clamp_(max=length)
