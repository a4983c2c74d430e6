"""SimCLR's contrastive loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.dist import gather_with_gradient, rank, world_size
from selfsup.ops.precision import without_autocast
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import LOSSES


@LOSSES.register_module()
class NTXentLoss(nn.Module):
    """Normalized temperature-scaled cross entropy: find an image's other view among all views of the global batch.

    Each process takes its own 2B views as anchors and the 2N views of all processes as keys, gathered with gradient:
    averaged over processes, as DistributedDataParallel does, loss and gradient are those of one process with the whole
    batch. Computed in float32 or better. Under gradient accumulation the negatives are those of one micro-batch: more
    accumulation does not mean more negatives.

    Args:
        temperature: > 0; 0.1 for ImageNet, 0.5 for CIFAR in the paper.
        official_factor: whether to return twice the paper's mean, as the reference code does. LARS takes the same step
            either way for what it adapts; biases and normalization layers, which it does not, take twice the step.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, equation 1 and algorithm 1; factor 2 as in tf2/objective.py.
    """

    def __init__(self, temperature: float = 0.1, official_factor: bool = False) -> None:
        super().__init__()
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
        self.temperature = temperature
        self.official_factor = official_factor

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views of a batch.

        Args:
            z_a: embeddings of the first views, shape (B, D), of any length; every process has the same B.
            z_b: embeddings of the second views of the same images, shape (B, D).

        Returns:
            The mean over 2B anchors (twice that with ``official_factor``), 0-dim.

        Raises:
            ValueError: if the shapes differ.
        """
        if z_a.shape != z_b.shape or z_a.ndim != 2:
            raise ValueError(
                f"NTXentLoss: both views must have the same shape (B, D), got {tuple(z_a.shape)} and {tuple(z_b.shape)}"
            )
        with without_autocast(z_a):
            a, b = l2_normalize(z_a), l2_normalize(z_b)
            batch = len(a)
            keys = torch.cat([gather_with_gradient(a), gather_with_gradient(b)])
            logits = torch.cat([a, b]) @ keys.T / self.temperature
            first = torch.arange(batch, device=a.device) + rank() * batch
            second = first + world_size() * batch
            itself, positive = torch.cat([first, second]), torch.cat([second, first])
            logits = logits.scatter(1, itself.unsqueeze(1), float("-inf"))
            loss = F.cross_entropy(logits, positive)
        return 2 * loss if self.official_factor else loss
