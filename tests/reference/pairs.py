"""The losses on pairs of SimCLR's study, table 2 of Chen et al. 2020 (arXiv:2002.05709), as loops in float64."""

from collections.abc import Callable

import numpy as np


def _over_anchors(z_a: np.ndarray, z_b: np.ndarray, of_anchor: Callable[[float, list[float]], float]) -> float:
    """The mean over all views of a loss of the similarity to the positive and those to all negatives."""
    z = [row / np.linalg.norm(row) for row in np.concatenate([z_a, z_b]).astype(np.float64)]
    n = len(z_a)
    losses = []
    for anchor in range(2 * n):
        positive = (anchor + n) % (2 * n)
        negatives = [float(z[anchor] @ z[k]) for k in range(2 * n) if k not in (anchor, positive)]
        losses.append(of_anchor(float(z[anchor] @ z[positive]), negatives))
    return float(np.mean(losses))


def nt_logistic_by_the_paper(z_a: np.ndarray, z_b: np.ndarray, temperature: float, *, semi_hard: bool) -> float:
    def of_anchor(positive: float, negatives: list[float]) -> float:
        total = -np.log(1 / (1 + np.exp(-positive / temperature)))
        for negative in negatives:
            if not semi_hard or negative < positive:
                total -= np.log(1 / (1 + np.exp(negative / temperature)))
        return total

    return _over_anchors(z_a, z_b, of_anchor)


def margin_triplet_by_the_paper(z_a: np.ndarray, z_b: np.ndarray, margin: float, *, semi_hard: bool) -> float:
    def of_anchor(positive: float, negatives: list[float]) -> float:
        total = 0.0
        for negative in negatives:
            if not semi_hard or positive - margin < negative < positive:
                total += max(negative - positive + margin, 0.0)
        return total

    return _over_anchors(z_a, z_b, of_anchor)
