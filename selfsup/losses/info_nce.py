"""MoCo's contrastive losses: against a queue of keys, and against the keys of the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.dist import gather, rank
from selfsup.ops.precision import at_least_float32, without_autocast
from selfsup.ops.similarity import cosine_similarity_matrix, l2_normalize, paired_cosines
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
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
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


@LOSSES.register_module()
class InBatchInfoNCELoss(nn.Module):
    """Find the key of each query among the keys of the global batch: MoCo v3.

    Each process takes its own queries and the keys of all processes: averaged over processes, as
    DistributedDataParallel does, loss and gradient are those of one process with the whole batch. No gradient reaches
    the keys. The cross entropy is multiplied by twice the temperature, as in the paper, so that the size of the
    gradient hardly depends on the temperature. Computed in float32 or better. Under gradient accumulation the negatives
    are those of one micro-batch.

    Args:
        temperature: > 0; 1 for ResNets and 0.2 for ViTs in the reference code.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Chen et al. 2021, arXiv:2104.02057, algorithm 1; facebookresearch/moco-v3 builder.py.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
        self.temperature = temperature

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """The mean cross entropy over the queries, times 2 * temperature.

        Args:
            query: the student's predictions of one view, shape (B, D), of any length; every process has the same B.
            key: the teacher's embeddings of the other view of the same images, shape (B, D), of any length.

        Returns:
            The loss, 0-dim.

        Raises:
            ValueError: if the shapes differ.
        """
        if query.shape != key.shape or query.ndim != 2:
            raise ValueError(
                "InBatchInfoNCELoss: query and key must have the same shape (B, D), "
                f"got {tuple(query.shape)} and {tuple(key.shape)}"
            )
        with without_autocast(query):
            keys = gather(l2_normalize(key))
            logits = l2_normalize(query) @ keys.T / self.temperature
            own = torch.arange(len(query), device=query.device) + rank() * len(query)
            return 2 * self.temperature * F.cross_entropy(logits, own)
