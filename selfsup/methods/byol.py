"""BYOL."""

import copy
from collections.abc import Collection
from typing import Any, Literal

from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError, nearest
from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss, build_part, build_predictor
from selfsup.methods.teacher import Teacher, check_momentum, copy_student
from selfsup.ops.ema import cosine_momentum
from selfsup.registry import BACKBONES, METHODS, NECKS

INITS = ("fresh", "copy")


@METHODS.register_module()
class BYOL(Method):
    """A view's prediction meets the teacher's embedding of the other view; there are no negatives.

    The student is the paper's online network, the teacher its target network: an encoder without predictor. Each view
    passes each network in a call of its own, so that batch norm never mixes the two views, which are augmented
    differently. Batch norm is synchronized in the reference code (``sync_bn='all'``), and the teacher's is in training
    mode too.

    The teacher follows after each optimizer step, with the new weights of the student and a momentum that rises along a
    cosine. The reference code also trains a linear classifier on the detached features; evaluators take its place here.

    Args:
        backbone: the encoder, or its dict.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        predictor: the prediction head, or its dict; ``in_dim`` and ``out_dim`` may be left out.
        loss: a :class:`~selfsup.losses.CosineLoss`, or its dict.
        momentum: the fraction of the teacher that is kept after the first optimizer step, in [0, 1]; the paper's tau.
        end_momentum: the same at the end of the run.
        teacher_init: ``'fresh'`` draws weights of the teacher's own, as the reference code does, for which backbone and
            neck must be dicts; ``'copy'`` starts from the student's. The authors saw no significant difference. Where
            a run begins with a file that holds a backbone alone, ``'copy'`` gives it to both, ``'fresh'`` to the
            student only.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Raises:
        ConfigError: if the parts do not fit each other, a momentum is out of its range, or a part that is built already
            would have to be built a second time.

    Source: Grill et al. 2020, arXiv:2006.07733; google-deepmind/deepmind-research byol_experiment.py.
    """

    num_views = 2

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        predictor: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        momentum: float = 0.996,
        end_momentum: float = 1.0,
        teacher_init: Literal["fresh", "copy"] = "fresh",
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        check_momentum("momentum", momentum)
        check_momentum("end_momentum", end_momentum)
        if teacher_init not in INITS:
            raise ConfigError.at(
                "teacher_init", f"unknown {teacher_init!r}", expected=nearest(str(teacher_init), INITS)
            )
        self.neck = self._build_neck(neck)
        self.predictor = build_predictor(predictor, self.neck)
        self.teacher = (
            self._fresh_teacher(backbone, neck)
            if teacher_init == "fresh"
            else Teacher.copy_of(self.backbone, self.neck)
        )
        self.criterion: nn.Module = build_loss(loss, "loss", ("prediction", "target"))
        self.teacher_init = teacher_init
        self.momentum = momentum
        self.end_momentum = end_momentum

    def after_init_from(self, taken: Collection[str]) -> list[str]:
        """Let a teacher that starts as a copy be one of the student now, unless the file had its weights too."""
        return copy_student(self, taken) if self.teacher_init == "copy" else []

    def after_step(self, progress: Progress) -> None:
        """Let the teacher follow."""
        momentum = cosine_momentum(progress.fraction, start=self.momentum, end=self.end_momentum)
        self.teacher.follow(self.backbone, self.neck, momentum)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The sum of the losses of both directions.

        Args:
            views: two, each of shape (B, 3, h, w).
            labels: not looked at.

        Returns:
            ``loss``, in [0, 8].

        Raises:
            ConfigError: unless there are exactly two views.
        """
        check_views(views, needed=self.num_views, exact=True, why="BYOL")
        first, second = (self.predictor(self.neck(self.backbone(view))) for view in views)
        first_target, second_target = (self.teacher(view) for view in views)
        return {"loss": self.criterion(first, second_target) + self.criterion(second, first_target)}

    def _build_neck(self, neck: nn.Module | dict[str, Any]) -> Any:
        return build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")

    def _fresh_teacher(self, backbone: nn.Module | dict[str, Any], neck: nn.Module | dict[str, Any]) -> Teacher:
        for place, part in (("backbone", backbone), ("neck", neck)):
            if not isinstance(part, dict):
                raise ConfigError.at(
                    place,
                    f"teacher_init='fresh' builds it twice and needs its dict, got a {type(part).__name__} "
                    "that is built already",
                    expected="pass the dict, or teacher_init='copy'",
                )
        return Teacher(BACKBONES.build(copy.deepcopy(backbone)), self._build_neck(copy.deepcopy(neck)))
