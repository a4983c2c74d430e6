"""SwAV's loss and queue, from equations 2 to 4 of arXiv:2006.09882 and its reference training loop."""

from collections.abc import Sequence

import numpy as np

from tests.reference.sinkhorn import sinkhorn_by_the_paper


def swav_loss_by_the_paper(
    scores: Sequence[np.ndarray],
    *,
    temperature: float,
    epsilon: float,
    iterations: int,
    assign_views: Sequence[int] = (0, 1),
    queue_scores: Sequence[np.ndarray] | None = None,
) -> float:
    """Scores are (B, K) per view, queue scores (Q, K) per assigned view."""
    batch, num_prototypes = scores[0].shape
    total = 0.0
    for index, assigned in enumerate(assign_views):
        rows = scores[assigned]
        if queue_scores is not None:
            rows = np.concatenate([queue_scores[index], rows])
        q = sinkhorn_by_the_paper(rows, epsilon, iterations)[-batch:]
        of_this_view = 0.0
        for predicted in range(len(scores)):
            if predicted == assigned:
                continue
            cross_entropies = []
            for b in range(batch):
                exponentials = [np.exp(scores[predicted][b, k] / temperature) for k in range(num_prototypes)]
                cross_entropies.append(
                    -sum(q[b, k] * np.log(exponentials[k] / sum(exponentials)) for k in range(num_prototypes))
                )
            of_this_view += float(np.mean(cross_entropies))
        total += of_this_view / (len(scores) - 1)
    return total / len(assign_views)


class QueueByTheCode:
    """The queue of one process: zeros at first, used once its last row is not zero, newest rows at the front."""

    def __init__(self, num_assigned: int, queue_length: int, global_batch: int, dim: int) -> None:
        rows = queue_length - queue_length % global_batch
        self.rows = np.zeros((num_assigned, rows, dim))

    def step(self, embeddings: Sequence[np.ndarray], prototypes: np.ndarray) -> list[np.ndarray] | None:
        """The queue's scores of this step, or None; then the embeddings, (B, D) per assigned view, enter."""
        scores = None
        if all(np.any(queue[-1] != 0) for queue in self.rows):
            scores = [queue @ prototypes.T for queue in self.rows]
        for queue, newest in zip(self.rows, embeddings, strict=True):
            batch = len(newest)
            queue[batch:] = queue[:-batch].copy()
            queue[:batch] = newest
        return scores
