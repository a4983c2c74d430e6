"""The papers' learning rates as functions of the step; step 0 is the first update."""

import math
from collections.abc import Sequence
from typing import Literal

CosineStart = Literal["rebased", "vissl_fixed"]


def warm_up(step: int, *, peak: float, start: float = 0.0, warmup_steps: int = 0, inclusive: bool = False) -> float:
    """Rise in a straight line from ``start`` at step 0 to ``peak`` at ``warmup_steps``, and stay there.

    Args:
        step: updates done.
        peak: the highest value.
        start: value at step 0, if there is a warm-up.
        warmup_steps: length of the rise.
        inclusive: reach the peak one step earlier, within the rise, as SwAV's ``np.linspace`` does.
    """
    if step >= warmup_steps:
        return peak
    length = warmup_steps - 1 if inclusive else warmup_steps
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
    inclusive: bool = False,
    seam: CosineStart = "rebased",
) -> float:
    """Linear warm-up as in :func:`warm_up`, then a cosine that reaches ``end`` at ``total_steps``.

    Args:
        step: updates done.
        peak: the highest value.
        total_steps: updates of the whole run.
        start: value at step 0, if there is a warm-up.
        end: the last value.
        warmup_steps: length of the warm-up.
        inclusive: see :func:`warm_up`.
        seam: ``'rebased'`` starts the cosine after the warm-up; ``'vissl_fixed'`` at step 0, so that the value drops
            when the warm-up ends.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 3 (rebased); VISSL's SEER configs, interval scaling
        [rescaled, fixed] (vissl_fixed); SwAV's main_swav.py (inclusive).
    """
    if step < warmup_steps:
        return warm_up(step, peak=peak, start=start, warmup_steps=warmup_steps, inclusive=inclusive)
    first = warmup_steps if seam == "rebased" else 0
    return cosine((step - first) / max(total_steps - first, 1), peak=peak, end=end)


def epoch_cosine(step: int, *, peak: float, steps_per_epoch: int, total_steps: int, end: float = 0.0) -> float:
    """A cosine that moves once per epoch; a part of an epoch counts as one.

    Source: MoCo's main_moco.py and SimSiam's main_simsiam.py, adjust_learning_rate.
    """
    return cosine((step // steps_per_epoch) / math.ceil(total_steps / steps_per_epoch), peak=peak, end=end)


def decayed(step: int, *, milestones: Sequence[int], factor: float) -> float:
    """``factor`` to the power of the number of milestones that ``step`` has reached."""
    return factor ** sum(step >= milestone for milestone in milestones)
