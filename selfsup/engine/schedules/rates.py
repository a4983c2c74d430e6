"""The papers' learning rates as functions of the step: warm-ups, cosines, milestones.

A step is one optimizer update; step 0 is the first.
"""

import math
from collections.abc import Sequence
from typing import Literal

CosineStart = Literal["rebased", "vissl_fixed"]


def warm_up(step: int, *, start: float, peak: float, steps: int, inclusive: bool = False) -> float:
    """Rise in a straight line from ``start`` towards ``peak``.

    Args:
        step: 0 <= step < steps.
        start: value at step 0.
        peak: value at step ``steps``; at ``steps - 1`` if ``inclusive``.
        steps: length of the rise.
        inclusive: reach the peak within the rise, as SwAV's ``np.linspace`` does.
    """
    length = steps - 1 if inclusive else steps
    return start + (peak - start) * step / length if length else start


def cosine(progress: float, *, peak: float, end: float) -> float:
    """Fall from ``peak`` at progress 0 to ``end`` at progress 1 along half a cosine.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def warmup_cosine(
    step: int,
    *,
    peak: float,
    total_steps: int,
    start: float = 0.0,
    end: float = 0.0,
    warmup_steps: int = 0,
    warmup_inclusive: bool = False,
    seam: CosineStart = "rebased",
) -> float:
    """Linear warm-up, then a cosine to ``end``.

    Args:
        step: updates done.
        peak: the highest value.
        total_steps: updates of the whole run, at which ``end`` is reached.
        start: value at step 0, if there is a warm-up.
        end: the last value.
        warmup_steps: length of the warm-up.
        warmup_inclusive: reach the peak in the warm-up's last step and not after it.
        seam: ``'rebased'`` starts the cosine after the warm-up; ``'vissl_fixed'`` reads it at the run's progress, so
            that the value drops where the two meet.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 3 (rebased); VISSL's SEER configs, interval scaling
        [rescaled, fixed] (vissl_fixed); SwAV's main_swav.py (inclusive).
    """
    if step < warmup_steps:
        return warm_up(step, start=start, peak=peak, steps=warmup_steps, inclusive=warmup_inclusive)
    first = warmup_steps if seam == "rebased" else 0
    return cosine((step - first) / max(total_steps - first, 1), peak=peak, end=end)


def epoch_cosine(step: int, *, peak: float, steps_per_epoch: int, epochs: int, end: float = 0.0) -> float:
    """A cosine that moves once per epoch.

    Source: MoCo's main_moco.py and SimSiam's main_simsiam.py, adjust_learning_rate.
    """
    return cosine((step // steps_per_epoch) / epochs, peak=peak, end=end)


def multi_step(step: int, *, peak: float, milestones: Sequence[int], factor: float = 0.1) -> float:
    """``peak`` times ``factor`` for each milestone that ``step`` has reached."""
    return peak * factor ** sum(step >= milestone for milestone in milestones)
