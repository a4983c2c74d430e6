"""SimCLR's loss, algorithm 1 of Chen et al. 2020 (arXiv:2002.05709), as loops in float64."""

import numpy as np


def nt_xent_by_the_paper(z_a: np.ndarray, z_b: np.ndarray, temperature: float) -> float:
    """Views 2k-1 and 2k of the paper are rows k of ``z_a`` and ``z_b``, (N, D)."""
    z = []
    for a, b in zip(z_a, z_b, strict=True):
        z += [np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)]
    count = len(z)
    s = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            s[i, j] = z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    def ell(i: int, j: int) -> float:
        others = sum(np.exp(s[i, k] / temperature) for k in range(count) if k != i)
        return float(-np.log(np.exp(s[i, j] / temperature) / others))

    return sum(ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k) for k in range(count // 2)) / count
