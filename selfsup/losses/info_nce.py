"""MoCo's contrastive loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.ops.precision import at_least_float32, without_autocast
from selfsup.ops.similarity import cosine_similarity_matrix, paired_cosines
from selfsup.registry import LOSSES


@LOSSES.register_module()
class InfoNCELoss(nn.Module):
    """Find the key of each query among the keys of a queue.

    Computed in float32 or better; no gradient reaches keys and queue.

    Args:
        temperature: > 0; 0.07 in MoCo v1, 0.2 in v2.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: He et al. 2020, arXiv:1911.05722, equation 1 and algorithm 1.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"InfoNCELoss.temperature: must be > 0, got {temperature}")
        self.temperature = temperature

    def forward(self, query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
        """The mean cross entropy over the queries.

        Args:
            query: the student's embeddings, shape (B, D), of any length.
            key: the teacher's embeddings of the same images, shape (B, D), of any length.
            queue: the negatives, shape (Q, D), of any length.

        Returns:
            The loss, 0-dim.
        """
        key, queue = key.detach(), queue.detach()
        with without_autocast(query):
            positive = paired_cosines(query, key).unsqueeze(1)
            negatives = cosine_similarity_matrix(query, queue.to(at_least_float32(query).dtype))
            logits = torch.cat([positive, negatives], dim=1) / self.temperature
            return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
