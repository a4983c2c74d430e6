"""Swapped prediction between views."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError, require
from selfsup.ops.precision import at_least_float32
from selfsup.ops.sinkhorn import sinkhorn
from selfsup.registry import LOSSES


@LOSSES.register_module()
class SwAVLoss(nn.Module):
    """Predict the balanced assignment of one view from the scores of every other view.

    Computed in float32 or better. Assignments are balanced over the batches of all processes (and the queue), the
    loss is the mean over the local batch, so that the average over processes is the loss of the whole batch. Under
    gradient accumulation assignments are balanced within each micro-batch: K prototypes want about K samples per
    micro-batch and queue, not per optimizer step.

    Args:
        temperature: of the predictions, > 0.
        epsilon: entropy weight of the assignments, > 0 (0.05; 0.03 against collapse and for SEER's 10B model).
        iterations: Sinkhorn iterations (3; 10 for SEER).
        assign_views: indices of the views that are assigned; the others are only predicted from.

    Raises:
        ValueError: if a parameter is out of range.

    Source: Caron et al. 2020, arXiv:2006.09882, equations 2 to 4 and section 3.3; main_swav.py.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        assign_views: Sequence[int] = (0, 1),
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("epsilon", epsilon), ("iterations", iterations)):
            require(value > 0, name, "must be > 0", got=value)
        if not assign_views or min(assign_views) < 0 or len(set(assign_views)) < len(assign_views):
            raise ConfigError.at("assign_views", "must be different view indices >= 0", got=tuple(assign_views))
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations
        self.assign_views = tuple(assign_views)

    def forward(self, scores: Sequence[Tensor], queue_scores: Sequence[Tensor] | None = None) -> Tensor:
        """The mean swapped prediction loss over all pairs of an assigned view and another view.

        Args:
            scores: per view, the scores of its embeddings against the prototypes, shape (B, K).
            queue_scores: per assigned view, scores of queued embeddings, shape (Q, K), that take part in the balance
                without being predicted; None without a queue.

        Returns:
            The loss, 0-dim, >= 0; ln K where all scores are equal.

        Raises:
            ValueError: if there are fewer than two views, or fewer than ``assign_views`` asks for.
        """
        return self.predict(scores, self.assign(scores, queue_scores))

    @torch.no_grad()
    def assign(self, scores: Sequence[Tensor], queue_scores: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The assignments of the assigned views.

        Args:
            scores: as in :meth:`forward`.
            queue_scores: as in :meth:`forward`.

        Returns:
            Per assigned view, shape (B, K), without gradient.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        needed = max(2, max(self.assign_views) + 1)
        if len(scores) < needed:
            raise ValueError(
                f"SwAVLoss: assign_views {self.assign_views} needs at least {needed} views, got {len(scores)}"
            )
        if queue_scores is not None and len(queue_scores) != len(self.assign_views):
            raise ValueError(
                f"SwAVLoss: one queue per assigned view is needed, {len(self.assign_views)}, got {len(queue_scores)}"
            )
        assignments = []
        for index, view in enumerate(self.assign_views):
            rows = scores[view].detach()
            if queue_scores is not None:
                rows = torch.cat([queue_scores[index].detach().to(rows.dtype), rows])
            assignments.append(sinkhorn(rows, self.epsilon, self.iterations)[-len(scores[view]) :])
        return assignments

    def predict(self, scores: Sequence[Tensor], assignments: Sequence[Tensor]) -> Tensor:
        """The loss for given assignments.

        Args:
            scores: as in :meth:`forward`.
            assignments: per assigned view, shape (B, K).

        Returns:
            The loss, 0-dim.
        """
        log_predictions = [(at_least_float32(rows) / self.temperature).log_softmax(dim=1) for rows in scores]
        loss = log_predictions[0].new_zeros(())
        for view, assignment in zip(self.assign_views, assignments, strict=True):
            for other, log_prediction in enumerate(log_predictions):
                if other != view:
                    loss = loss - (assignment * log_prediction).sum(dim=1).mean()
        return loss / (len(self.assign_views) * (len(scores) - 1))
