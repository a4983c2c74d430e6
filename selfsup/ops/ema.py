"""A teacher that follows its student, and how closely in the course of training."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from selfsup.ops.parts import own_part


@torch.no_grad()
def ema_update(teacher_params: Iterable[Tensor], student_params: Iterable[Tensor], momentum: float) -> None:
    """Move the teacher towards the student, in place: ``teacher = momentum * teacher + (1 - momentum) * student``.

    Pass parameters only: running statistics of batch norm are not averaged, each network keeps its own. A teacher equal
    to its student stays so to the bit.

    Args:
        teacher_params: what is moved (BYOL's target, MoCo's key encoder).
        student_params: where to; call after the optimizer step, so that these are the new values.
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
    if teachers:
        torch._foreach_lerp_([*map(own_part, teachers)], [*map(own_part, students)], 1 - momentum)


def cosine_momentum(fraction: float, *, start: float, end: float = 1.0) -> float:
    """The fraction of the teacher that is kept, rising from ``start`` to ``end`` along half a cosine.

    Args:
        fraction: the share of the run that is done, in [0, 1].
        start: value at the beginning of the run.
        end: value at its end; ``start`` for a constant one.

    Source: Grill et al. 2020, arXiv:2006.07733, section 3.3, where it is 1 - (1 - start) (cos(pi k / K) + 1) / 2.
    """
    return end - (end - start) * (math.cos(math.pi * fraction) + 1) / 2
