"""SwAV, and SEER, which is SwAV at scale."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError, require
from selfsup.layers.feature_queue import FeatureQueue
from selfsup.layers.update_rows import UpdateRows
from selfsup.losses.swav import SwAVLoss
from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_has_negatives, check_view_count, check_views
from selfsup.methods.multi_view import forward_by_size
from selfsup.methods.parts import build_loss, build_part
from selfsup.necks.prototypes import Prototypes
from selfsup.ops.dist import all_reduce_sum, world_size
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import METHODS, NECKS


@METHODS.register_module()
class SwAV(Method):
    """Views of an image predict each other's assignment to prototypes.

    The backbone runs once per image size, the neck once for all views together (its batch norm sees them all), the
    prototypes are scaled to unit length before every optimizer step. Freezing them at the start is the optimizer
    wrapper's task (``optim_wrapper.freeze``), which drops their gradients.

    Small batches can keep a queue of past embeddings that take part in balancing the assignments: for each assigned
    view ``queue_length / world size`` rows in each process, cut down to a multiple of the global batch, newest first.
    It starts empty at epoch ``queue_start_epoch`` and is used once it is full; its scores are recomputed with the
    current prototypes. It advances once per optimizer step. Under gradient accumulation each micro-batch is balanced
    by itself, together with the queue as the step found it.

    Args:
        backbone: the encoder, or its dict.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        prototypes: a :class:`~selfsup.necks.Prototypes`, or its dict; ``in_dim`` may be left out.
        loss: a :class:`~selfsup.losses.SwAVLoss`, or its dict.
        preprocess: see :class:`~selfsup.methods.base.Method`.
        queue_length: embeddings queued over all processes, per assigned view; 0 for no queue.
        queue_start_epoch: epoch, counted from 0, at which the queue starts to fill.

    Raises:
        ConfigError: if the neck does not fit the backbone, the prototypes do not fit the neck, or a number is negative.

    Source: Caron et al. 2020, arXiv:2006.09882, and main_swav.py; Goyal et al. 2021, arXiv:2103.01988.
    """

    entry_points = ("prototype_scores",)
    moved_before_step = ("prototypes",)
    joins_views = True

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        prototypes: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        preprocess: Preprocess | dict[str, Any] | None = None,
        queue_length: int = 0,
        queue_start_epoch: int = 15,
    ) -> None:
        super().__init__(backbone, preprocess)
        for name, value in (("queue_length", queue_length), ("queue_start_epoch", queue_start_epoch)):
            require(value >= 0, name, "must be >= 0", got=value)
        self.neck = build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")
        self.prototypes: Prototypes = build_part(
            NECKS, prototypes, "prototypes", in_dim=self.neck.out_dim, source="neck.out_dim"
        )
        self.criterion: SwAVLoss = build_loss(
            loss,
            "loss",
            {"assign": ("scores", "queue_scores"), "predict": ("scores", "assignments")},
        )
        self.queue_length = queue_length
        self.queue_start_epoch = queue_start_epoch
        self.queue: FeatureQueue | None = None
        if queue_length:
            self.queue = FeatureQueue(len(self.criterion.assign_views), queue_length, self.prototypes.in_dim)
            # With its defaults, DistributedDataParallel would overwrite every process's queue with that of process 0.
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, ["queue.rows", "queue.filled"])
        self._epoch = 0
        self._entering = UpdateRows()

    @property
    def uniform_loss(self) -> float:  # type: ignore[override]
        """ln K: the loss where all samples look alike."""
        return math.log(self.prototypes.out_dim)

    @property
    def _num_needed(self) -> int:
        """The fewest views of an image that can be trained with."""
        return max(2, *(view + 1 for view in self.criterion.assign_views))

    def check_num_views(self, num_views: int) -> None:
        """Reject fewer views than the loss assigns."""
        why = f"assign_views {self.criterion.assign_views}"
        check_view_count(num_views, needed=self._num_needed, exact=False, why=why)

    def before_step(self, progress: Progress) -> None:
        """Scale the prototypes to unit length and note the epoch."""
        self._epoch = progress.epoch
        self._entering.begin(progress.micro_batches)
        self.prototypes.normalize_()

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The swapped prediction loss, and how the prototypes are used.

        Args:
            views: at least two, each of shape (B, 3, h, w); the loss's ``assign_views`` index this list.
            labels: not looked at.

        Returns:
            - ``loss``: to be minimized.
            - ``assignment_entropy``: entropy of the mean assignment over ln K, in [0, 1]. The mean is over the
              assigned views of all processes, without the queue. Sinkhorn keeps it near 1; far below, the assignments
              are not balanced.
            - ``dead_prototypes``: share of the K prototypes that have the largest score for none of those views, in
              [0, 1). It is at least 1 - samples / K; a collapsed model has 1 - 1 / K.
            - ``below_uniform``: ln K - loss; 0 where all samples look alike.

        Raises:
            ConfigError: if there are fewer views than the loss assigns, or the queue is shorter than the global batch.
        """
        check_views(views, needed=self._num_needed, exact=False, why=f"assign_views {self.criterion.assign_views}")
        assign_views = self.criterion.assign_views
        batch = len(views[0])
        embeddings = l2_normalize(self.neck(torch.cat(forward_by_size(self.backbone, views))))
        scores = self.prototypes(embeddings).split(batch)
        by_view = embeddings.detach().split(batch)
        queue_scores = self._queue_scores(torch.stack([by_view[view] for view in assign_views]))
        assignments = self.criterion.assign(scores, queue_scores)
        loss = self.criterion.predict(scores, assignments)
        usage = _prototype_usage(torch.cat([scores[view].detach() for view in assign_views]), torch.cat(assignments))
        return {"loss": loss, **usage, "below_uniform": self.uniform_loss - loss.detach()}

    @torch.no_grad()
    def prototype_scores(self, features: Tensor) -> Tensor:
        """Cosine of the embedding of each image with each prototype.

        Args:
            features: what :meth:`features` gives, shape (B, backbone.out_dim).

        Returns:
            Shape (B, K), float32 or better.
        """
        return self.prototypes(l2_normalize(self.neck(features)))

    def check_batch(self, per_process: int, processes: int) -> None:
        """Reject a queue that is shorter than a batch, and an image alone, which nothing can be balanced with.

        Args:
            per_process: images per process and update.
            processes: how many take part.

        Raises:
            ConfigError: if there is a queue, and it does not hold the batch of all processes; if there is none, and the
                batch is one image.
        """
        batch = per_process * processes
        if not self.queue_length:
            check_has_negatives(per_process, processes)
        if 0 < self.queue_length < batch:
            raise ConfigError.at(
                "queue_length",
                f"must hold at least one batch of all processes, {batch} images",
                got=self.queue_length,
                expected="0 means no queue",
            )

    def advice(self, batch_size: int, *, recipe: tuple[Method, int] | None = None) -> list[str]:
        """Says so when fewer samples than prototypes take part in a balanced assignment, and fewer than the recipe's.

        SEER balances 8,192 samples over 16,000 prototypes: as many for each prototype are enough for who follows it.
        """
        enough = 1.0
        if recipe is not None and isinstance(recipe[0], SwAV):
            enough = min(enough, recipe[0].samples(recipe[1]) / recipe[0].prototypes.out_dim)
        samples, prototypes = self.samples(batch_size), self.prototypes.out_dim
        if samples >= enough * prototypes:
            return []
        queue = -(-(math.ceil(enough * prototypes) - batch_size) // batch_size) * batch_size
        than = "" if enough == 1 else f" (the recipe has {enough:.2g} samples for each)"
        return [
            f"model.prototypes.num_prototypes: {prototypes} prototypes cannot be used equally by {samples} samples, "
            f"which is the micro-batch of all processes plus the queue{than}; use at most {int(samples / enough)} "
            f"prototypes, a larger batch, or model.queue_length >= {queue}"
        ]

    def samples(self, batch_size: int) -> int:
        """How many samples take part in one assignment.

        Args:
            batch_size: images of all processes per micro-batch.
        """
        return batch_size + self.queue_length - self.queue_length % batch_size

    @torch.no_grad()
    def _queue_scores(self, embeddings: Tensor) -> list[Tensor] | None:
        """Scores of the queued embeddings, if the queue is full; then those of the whole update enter it.

        Args:
            embeddings: of the assigned views, shape (A, B, D).
        """
        if self.queue is None:
            return None
        batch, processes = embeddings.shape[1] * self._entering.micro_batches, world_size()
        self.check_batch(batch, processes)
        length = self.queue_length // (batch * processes) * batch
        if self._epoch < self.queue_start_epoch or not self.training:
            return None
        scores = None
        if self.queue.is_full(length):
            scores = [self.prototypes(rows[:length]) for rows in self.queue.rows]
        if (rows := self._entering.add(embeddings, dim=1)) is not None:
            self.queue.push(rows, length=length)
        return scores


@torch.no_grad()
def _prototype_usage(scores: Tensor, assignments: Tensor) -> dict[str, Tensor]:
    """See :meth:`SwAV.loss`; both of shape (samples, K)."""
    prototypes = scores.shape[1]
    # torch.bincount would wait for a GPU
    nearest = assignments.new_zeros(prototypes).index_add_(0, scores.argmax(dim=1), assignments.new_ones(len(scores)))
    total, nearest = all_reduce_sum(torch.stack([assignments.sum(dim=0), nearest]))
    entropy = torch.special.entr(total / total.sum()).sum() / math.log(max(prototypes, 2))
    return {"assignment_entropy": entropy, "dead_prototypes": (nearest == 0).float().mean()}
