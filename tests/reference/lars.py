"""LARS and LARC in NumPy float64, written from the papers' update rules."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def lars_by_the_papers(
    weight: Sequence[float],
    gradients: Sequence[Sequence[float]],
    lrs: Sequence[float],
    *,
    variant: str,
    weight_decay: float,
    momentum: float,
    trust: float,
    nesterov: bool = False,
) -> list[Array]:
    """Weights after each step."""
    w = np.array(weight, dtype=np.float64)
    buffer = np.zeros_like(w)
    history = []
    for gradient, lr in zip(gradients, lrs, strict=True):
        g = np.array(gradient, dtype=np.float64)
        w_norm, g_norm = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
        if variant == "larc":
            if w_norm != 0 and g_norm != 0:
                ratio = trust * w_norm / (g_norm + weight_decay * w_norm + 1e-8)
                g = (g + weight_decay * w) * ratio
            scaled = g
        else:
            g = g + weight_decay * w
            g_norm = np.sqrt((g * g).sum())
            ratio = trust * w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0
            scaled = lr * ratio * g if variant == "simclr" else ratio * g
        buffer = momentum * buffer + scaled
        step = scaled + momentum * buffer if nesterov else buffer
        w = w - (step if variant == "simclr" else lr * step)
        history.append(w.copy())
    return history
