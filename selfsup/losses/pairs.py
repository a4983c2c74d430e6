"""The two losses that SimCLR's study compares NT-Xent with: logistic and triplet, with and without semi-hard mining.

The paper gives both for one negative. Here they are summed over the negatives that count and averaged over the anchors;
a sum or a mean over negatives is one and the same to LARS, and differs for plain SGD.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.losses.in_batch import anchors_and_keys
from selfsup.ops.precision import without_autocast
from selfsup.registry import LOSSES


@LOSSES.register_module()
class NTLogisticLoss(nn.Module):
    """A logistic regression on pairs: the positive pair is told from each negative pair by itself.

    Args:
        temperature: > 0.
        semi_hard: only negatives count that are less similar to the anchor than its positive.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, table 2.
    """

    def __init__(self, temperature: float = 0.1, semi_hard: bool = False) -> None:
        super().__init__()
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
        self.temperature = temperature
        self.semi_hard = semi_hard

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views of a batch, each (B, D) and of any length: 0-dim."""
        with without_autocast(z_a):
            positive, negatives, counts = _similarities(z_a, z_b, "NTLogisticLoss")
            if self.semi_hard:
                counts = counts & (negatives < positive[:, None])
            told = F.softplus(negatives / self.temperature).masked_fill(~counts, 0).sum(dim=1)
            return (F.softplus(-positive / self.temperature) + told).mean()


@LOSSES.register_module()
class MarginTripletLoss(nn.Module):
    """Each negative must be less similar to the anchor than its positive, by a margin.

    Args:
        margin: > 0.
        semi_hard: only negatives count that are less similar than the positive, but not yet by the margin.

    Raises:
        ValueError: if ``margin`` is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, table 2; semi-hard negatives: Schroff et al. 2015, arXiv:1503.03832.
    """

    def __init__(self, margin: float = 0.8, semi_hard: bool = False) -> None:
        super().__init__()
        require(margin > 0, "margin", "must be > 0", got=margin)
        self.margin = margin
        self.semi_hard = semi_hard

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views of a batch, each (B, D) and of any length: 0-dim."""
        with without_autocast(z_a):
            positive, negatives, counts = _similarities(z_a, z_b, "MarginTripletLoss")
            if self.semi_hard:
                counts = counts & (negatives < positive[:, None])
            missing = (negatives - positive[:, None] + self.margin).clamp_min(0)
            return missing.masked_fill(~counts, 0).sum(dim=1).mean()


def _similarities(z_a: Tensor, z_b: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of each anchor: similarity to its positive (2B,), to all keys (2B, 2N), and which of these are negatives."""
    anchors, keys, itself, positive = anchors_and_keys(z_a, z_b, normalize=True, name=name)
    similarities = anchors @ keys.T
    negative = torch.ones_like(similarities, dtype=torch.bool)
    negative.scatter_(1, torch.stack([itself, positive], dim=1), False)
    return similarities.gather(1, positive[:, None])[:, 0], similarities, negative
