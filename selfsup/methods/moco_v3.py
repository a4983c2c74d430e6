"""MoCo, version 3."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_has_negatives, check_views
from selfsup.methods.parts import build_loss, build_part, build_predictor
from selfsup.methods.teacher import Teacher, check_momentum, copy_student
from selfsup.ops.ema import cosine_momentum
from selfsup.registry import METHODS, NECKS


@METHODS.register_module()
class MoCoV3(Method):
    """Each view's prediction finds the other view's key among the keys of the global batch; there is no queue.

    The student has a predictor that the teacher (the paper's momentum encoder) lacks. Each view passes each network in
    a call of its own, so that batch norm never mixes the two views, which are augmented differently. The teacher
    follows before each optimizer step, as in :class:`~selfsup.methods.MoCo`, with a momentum that rises along a cosine.
    Batch norm is synchronized in the reference code (``sync_bn='all'``).

    Args:
        backbone: the encoder, or its dict; the teacher starts as a copy.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        predictor: the prediction head, or its dict; ``in_dim`` and ``out_dim`` may be left out.
        loss: an :class:`~selfsup.losses.InBatchInfoNCELoss`, or its dict.
        momentum: the fraction of the teacher that the first optimizer step keeps, in [0, 1].
        end_momentum: the same at the end of the run; equal to ``momentum`` for a constant one, which is the reference
            code's default while all its commands switch the cosine on.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Raises:
        ConfigError: if the parts do not fit each other, or a momentum is out of its range.

    Source: Chen et al. 2021, arXiv:2104.02057, algorithm 1; facebookresearch/moco-v3 builder.py and main_moco.py.
    """

    num_views = 2
    moved_before_step = ("teacher",)

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        predictor: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        momentum: float = 0.99,
        end_momentum: float = 1.0,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        check_momentum("momentum", momentum)
        check_momentum("end_momentum", end_momentum)
        self.neck = build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")
        self.predictor = build_predictor(predictor, self.neck)
        self.teacher = Teacher.copy_of(self.backbone, self.neck)
        self.criterion: nn.Module = build_loss(loss, "loss", ("query", "key"))
        self.momentum = momentum
        self.end_momentum = end_momentum

    def after_init_from(self, taken: Collection[str]) -> list[str]:
        """Let the teacher start as a copy of the student now, unless the file had its weights too."""
        return copy_student(self, taken)

    def before_step(self, progress: Progress) -> None:
        """Let the teacher follow."""
        momentum = cosine_momentum(progress.fraction, start=self.momentum, end=self.end_momentum)
        self.teacher.follow(self.backbone, self.neck, momentum)

    def check_batch(self, per_process: int, processes: int) -> None:
        """Reject a batch of one image, which has no negatives."""
        check_has_negatives(per_process, processes)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The sum of the losses of both directions.

        Args:
            views: two, each of shape (B, 3, h, w).
            labels: not looked at.

        Returns:
            ``loss``.

        Raises:
            ConfigError: unless there are exactly two views.
        """
        check_views(views, needed=self.num_views, exact=True, why="MoCoV3")
        first, second = (self.predictor(self.neck(self.backbone(view))) for view in views)
        first_key, second_key = (self.teacher(view) for view in views)
        return {"loss": self.criterion(first, second_key) + self.criterion(second, first_key)}
