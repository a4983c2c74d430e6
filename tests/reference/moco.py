"""MoCo as loops in float64: algorithm 1 of arXiv:1911.05722 (version 1) and of arXiv:2104.02057 (version 3)."""

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return np.stack([row / np.sqrt((row * row).sum()) for row in np.asarray(rows, dtype=np.float64)])


def info_nce_by_the_paper(q: np.ndarray, k: np.ndarray, queue: np.ndarray, temperature: float) -> float:
    """Query i belongs to key i; the negatives are the queue's rows."""
    losses = []
    for query, key in zip(unit(q), unit(k), strict=True):
        positive = np.exp(query @ key / temperature)
        negatives = sum(np.exp(query @ row / temperature) for row in queue)
        losses.append(-np.log(positive / (positive + negatives)))
    return float(np.mean(losses))


def in_batch_by_the_paper(q: np.ndarray, k: np.ndarray, temperature: float) -> float:
    """One direction of version 3: the negatives of query i are the keys of the other images."""
    queries, keys = unit(q), unit(k)
    losses = []
    for i, query in enumerate(queries):
        exponentials = [np.exp(query @ key / temperature) for key in keys]
        losses.append(-np.log(exponentials[i] / sum(exponentials)))
    return 2 * temperature * float(np.mean(losses))


class RingByTheCode:
    """The queue of builder.py: keys are written at the pointer, which jumps back at the end."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows.copy()
        self.pointer = 0

    def push(self, keys: np.ndarray) -> None:
        """Batches divide the queue."""
        assert len(self.rows) % len(keys) == 0
        self.rows[self.pointer : self.pointer + len(keys)] = keys
        self.pointer = (self.pointer + len(keys)) % len(self.rows)
