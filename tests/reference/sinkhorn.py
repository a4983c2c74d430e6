"""Sinkhorn-Knopp as in listing 1 of Caron et al. 2020 (arXiv:2006.09882), entry by entry in float64."""

import numpy as np


def sinkhorn_by_the_paper(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Scores (B, K) to assignments (B, K); overflows for scores above about 700 * epsilon, as the listing does."""
    num_samples, num_prototypes = scores.shape
    q = np.zeros((num_prototypes, num_samples))
    for k in range(num_prototypes):
        for b in range(num_samples):
            q[k, b] = np.exp(float(scores[b, k]) / epsilon)
    q /= q.sum()
    for _ in range(iterations):
        for k in range(num_prototypes):
            q[k] *= (1 / num_prototypes) / q[k].sum()
        for b in range(num_samples):
            q[:, b] *= (1 / num_samples) / q[:, b].sum()
    for b in range(num_samples):
        q[:, b] /= q[:, b].sum()
    return q.T
