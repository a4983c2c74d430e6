"""Distillation: a student learns the class probabilities that a trained classifier gives."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError, require, under
from selfsup.losses.cross_entropy import CrossEntropyLoss
from selfsup.methods.base import Method
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss
from selfsup.methods.supervised import Supervised, accuracies, checked_labels
from selfsup.registry import METHODS


@METHODS.register_module()
class Distillation(Method):
    """The third step of SimCLR v2: what a fine-tuned network knows is taught to a student, on images without labels.

    The teacher's weights come from a checkpoint when training starts, and from the same one when it is resumed: a run
    whose teacher's file has changed or is gone is rejected. They never change (no gradient, evaluation mode) and are
    not written into the student's checkpoints, which hold backbone and
    classifier like those of :class:`~selfsup.methods.Supervised` and can start one. Student and teacher are shown the
    same pixels: the teacher's ``preprocess`` normalizes for both.

    Args:
        backbone: the student's encoder, or its dict.
        teacher: a :class:`~selfsup.methods.Supervised`, or its dict.
        loss: a :class:`~selfsup.losses.DistillationLoss`, or its dict.
        teacher_checkpoint: checkpoint that the teacher's weights come from, or a work dir for the newest one that it
            has when training starts; None takes the teacher as it is, a module that was trained already when it was
            handed over, and no dict.
        alpha: weight of the teacher's part, in (0, 1]; the rest goes to the cross entropy of the labels, which are not
            looked at if it is 1.

    Raises:
        ConfigError: if the teacher is no classifier, or a dict without a checkpoint, or ``alpha`` is out of range.

    Source: Chen et al. 2020, arXiv:2006.10029, equations 2 and 3. Equation 3 adds up over labelled and unlabelled
        images; here every image of a batch takes part in both terms, each a mean over the batch.
    """

    num_views = 1

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        teacher: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        teacher_checkpoint: str | None = None,
        alpha: float = 1.0,
    ) -> None:
        with under("teacher"):
            taught = METHODS.build(teacher)
        require(isinstance(taught, Supervised), "teacher", "must be a Supervised method", got=type(taught))
        if isinstance(teacher, dict) and teacher_checkpoint is None:
            raise ConfigError.at(
                "teacher_checkpoint",
                "must be a checkpoint of the teacher's, or the work dir of its run, got None",
                expected="a teacher that is built of its dict has random weights and nothing to teach",
            )
        require(0 < alpha <= 1, "alpha", "must be in (0, 1]", got=alpha)
        super().__init__(backbone, taught.preprocess)
        self.num_classes = taught.num_classes
        self.classifier = nn.Linear(self.backbone.out_dim, self.num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)  # as in Supervised
        nn.init.zeros_(self.classifier.bias)
        self.criterion: nn.Module = build_loss(loss, "loss", ("student_scores", "teacher_scores"))
        self.label_criterion = CrossEntropyLoss()
        self.teacher = taught.requires_grad_(False).eval()
        self.teacher_checkpoint = teacher_checkpoint
        self.alpha = alpha
        self.fresh_parts = ("classifier", "teacher")
        self._teacher_is_trained = teacher_checkpoint is None
        self.register_state_dict_post_hook(_leave_out_teacher)
        self.register_load_state_dict_post_hook(_miss_no_teacher)

    def train(self, mode: bool = True) -> "Distillation":
        """Training mode for the student; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def label_classes(self) -> tuple[str, int] | None:
        """Those of the teacher, which the student's classifier follows; None if labels are not looked at."""
        return ("model.teacher.num_classes", self.num_classes) if self.alpha < 1 else None

    def before_training(self, load_trained: Callable[[str, nn.Module], None]) -> None:
        """Fill the teacher."""
        if self.teacher_checkpoint is not None:
            load_trained(self.teacher_checkpoint, self.teacher)
            self._teacher_is_trained = True

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The distillation loss, and how often the student agrees with the teacher.

        Args:
            views: one, of shape (B, 3, h, w).
            labels: class numbers, shape (B,); needed if ``alpha`` is below 1, otherwise not looked at.

        Returns:
            - ``loss_teacher``: the distillation loss times ``alpha``.
            - ``loss_labels``: if ``alpha`` is below 1, the cross entropy of the labels times 1 - ``alpha``.
            - ``agreement``: share of the images that student and teacher put into the same class.
            - ``top1``, ``top5``: if ``alpha`` is below 1, as in :meth:`Supervised.loss`.

        Raises:
            ConfigError: unless there is one view, the teacher's weights are loaded, and labels fit where needed.
        """
        check_views(views, needed=self.num_views, exact=True, why="Distillation")
        if not self._teacher_is_trained:
            raise ConfigError.at(
                "model.teacher_checkpoint",
                f"{self.teacher_checkpoint} is not loaded yet",
                expected="call before_training first, as selfsup train does",
            )
        with torch.no_grad():
            teacher_scores = self.teacher.scores(views[0])
        scores = self.classifier(self.backbone(views[0]))
        parts = {"loss_teacher": self.alpha * self.criterion(scores, teacher_scores)}
        if self.alpha < 1:
            labels = checked_labels(labels, self.num_classes, self.label_criterion, place="model.teacher")
            parts["loss_labels"] = (1 - self.alpha) * self.label_criterion(scores, labels)
            parts |= accuracies(scores, labels)
        agreement = (scores.argmax(dim=1) == teacher_scores.argmax(dim=1)).float().mean()
        return {**parts, "agreement": agreement}


def _leave_out_teacher(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}teacher.")]:
        del state[name]


def _miss_no_teacher(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if not name.startswith("teacher.")]
