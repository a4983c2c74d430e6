"""What enters a queue once per optimizer update, whatever number of micro-batches it is made of."""

import torch
from torch import Tensor


class UpdateRows:
    """Collects the rows of an update's micro-batches.

    Attributes:
        micro_batches: how many make an update.
    """

    def __init__(self) -> None:
        self.begin(1)

    def begin(self, micro_batches: int) -> None:
        """Start an update; what one that failed has left is forgotten."""
        self.micro_batches = micro_batches
        self._waiting: list[Tensor] = []

    def add(self, rows: Tensor, *, dim: int = 0) -> Tensor | None:
        """All rows of the update, joined along a dimension, once these are its last; None before."""
        self._waiting.append(rows.detach())
        if len(self._waiting) < self.micro_batches:
            return None
        waiting, self._waiting = self._waiting, []
        return torch.cat(waiting, dim=dim)
