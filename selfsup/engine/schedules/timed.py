"""Schedules that the step alone decides: the papers' formulas of :mod:`selfsup.engine.schedules.rates`, for configs."""

import math
from collections.abc import Sequence
from typing import get_args

from mmengine.optim import BaseOptimWrapper
from torch.optim import Optimizer

from selfsup.engine.schedules.base import Schedule, WarmUpSchedule
from selfsup.engine.schedules.rates import CosineStart, epoch_cosine, multi_step, warmup_cosine
from selfsup.errors import ConfigError, nearest
from selfsup.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(WarmUpSchedule):
    """Linear warm-up, then a cosine: SEER, SwAV, SimCLR and BYOL.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the peak.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run, at which ``end_lr`` is reached.
        start_lr: learning rate of the first update, 0 by default.
        start_factor: the same as a share of the peak.
        end_lr: learning rate the cosine falls to.
        warmup_steps: length of the warm-up in updates.
        warmup_epochs: the same in passes over the data.
        warmup_inclusive: reach the peak in the warm-up's last update, as SwAV's code does, and not after it.
        seam: ``'rebased'`` starts the cosine after the warm-up, as the papers say; ``'vissl_fixed'`` reads it at the
            run's progress, as VISSL's SEER configs do: the rate drops where the two meet (9.6 to 9.47).

    Raises:
        ConfigError: if something is given twice or out of its range.

    Source: see :func:`warmup_cosine`.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        start_lr: float | None = None,
        start_factor: float | None = None,
        end_lr: float = 0.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
        warmup_inclusive: bool = False,
        seam: CosineStart = "rebased",
    ) -> None:
        if seam not in get_args(CosineStart):
            raise ConfigError.at("seam", f"unknown seam {seam!r}", expected=nearest(seam, get_args(CosineStart)))
        self.end_lr = end_lr
        self.seam = seam
        super().__init__(
            optimizer,
            steps_per_epoch=steps_per_epoch,
            total_steps=total_steps,
            start_lr=start_lr,
            start_factor=start_factor,
            warmup_steps=warmup_steps,
            warmup_epochs=warmup_epochs,
            warmup_inclusive=warmup_inclusive,
        )

    def value_after(self, step: int, base: float) -> float:
        """The learning rate at a ``step`` after the warm-up."""
        return warmup_cosine(
            step,
            peak=base,
            total_steps=self.total_steps,
            end=self.in_proportion(self.end_lr, base),
            warmup_steps=self.warmup_steps,
            seam=self.seam,
        )


@PARAM_SCHEDULERS.register_module()
class EpochCosine(Schedule):
    """A cosine over the run that moves once per epoch: MoCo v2 and SimSiam.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the first epoch's.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run; a part of an epoch counts as one.
        end_lr: learning rate that the epoch after the last would have.

    Source: see :func:`epoch_cosine`.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        end_lr: float = 0.0,
    ) -> None:
        self.end_lr = end_lr
        super().__init__(optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps)

    def value(self, step: int, base: float) -> float:
        """The learning rate at ``step`` of a group whose own is ``base``."""
        return epoch_cosine(
            step,
            peak=base,
            steps_per_epoch=self.steps_per_epoch,
            epochs=math.ceil(self.total_steps / self.steps_per_epoch),
            end=self.in_proportion(self.end_lr, base),
        )


@PARAM_SCHEDULERS.register_module()
class MultiStep(WarmUpSchedule):
    """A constant rate that is multiplied by a factor at milestones, after a linear warm-up if there is one.

    Args:
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        epochs: milestones in passes over the data; (120, 160) of 200 is MoCo v1's.
        steps: milestones in updates.
        factor: what each milestone multiplies the rate with.
        start_lr: learning rate of the warm-up's first update, 0 by default.
        start_factor: the same as a share of the optimizer's.
        warmup_steps: length of the warm-up in updates.
        warmup_epochs: the same in passes over the data.

    Raises:
        ConfigError: if something is given twice, or no milestone is.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        epochs: Sequence[float] | None = None,
        steps: Sequence[int] | None = None,
        factor: float = 0.1,
        start_lr: float | None = None,
        start_factor: float | None = None,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ConfigError.at("", "give the milestones as epochs or as steps")
        self.milestones = tuple(round(epoch * steps_per_epoch) for epoch in epochs or ()) + tuple(steps or ())
        self.factor = factor
        super().__init__(
            optimizer,
            steps_per_epoch=steps_per_epoch,
            total_steps=total_steps,
            start_lr=start_lr,
            start_factor=start_factor,
            warmup_steps=warmup_steps,
            warmup_epochs=warmup_epochs,
            warmup_inclusive=False,
        )

    def value_after(self, step: int, base: float) -> float:
        """The learning rate at a ``step`` after the warm-up."""
        return multi_step(step, peak=base, milestones=self.milestones, factor=self.factor)
