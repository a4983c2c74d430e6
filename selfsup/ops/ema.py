"""A teacher that follows its student."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def ema_update(teacher_params: Iterable[Tensor], student_params: Iterable[Tensor], momentum: float) -> None:
    """Move the teacher towards the student, in place: ``teacher = momentum * teacher + (1 - momentum) * student``.

    Pass parameters only: running statistics of batch norm are not averaged, each network keeps its own.

    Args:
        teacher_params: what is moved (BYOL's target, MoCo's key encoder).
        student_params: where to; call after the optimiser step, so that these are the new values.
        momentum: the fraction of the teacher that is kept, in [0, 1].

    Raises:
        ValueError: if ``momentum`` is outside [0, 1] or the two networks differ.

    Source: He et al. 2020, arXiv:1911.05722, equation 2; Grill et al. 2020, arXiv:2006.07733, equation 1.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"ema_update: momentum must lie in [0, 1], got {momentum}")
    teachers, students = list(teacher_params), list(student_params)
    if [tensor.shape for tensor in teachers] != [tensor.shape for tensor in students]:
        raise ValueError(
            f"ema_update: teacher and student must have the same shapes in the same order, got {len(teachers)} and "
            f"{len(students)} parameters"
        )
    for teacher, student in zip(teachers, students, strict=True):
        teacher.mul_(momentum).add_(student, alpha=1 - momentum)
