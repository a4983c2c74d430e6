"""Learning rates over the steps of a run: the papers' formulas (:mod:`selfsup.engine.rates`) as schedulers for configs.

A step is one optimiser update; step 0 is the first. Learning rates given as such (``start_lr``, ``end_lr``) belong to
the optimiser's own ``lr``: a parameter group with another follows the same curve in proportion, and one with
``fixed_lr=True`` keeps its own.
"""

import math
from collections.abc import Sequence
from typing import Any, get_args

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from selfsup.engine.rates import Seam, epoch_cosine, multi_step, warm_up, warmup_cosine
from selfsup.errors import ConfigError, did_you_mean
from selfsup.registry import PARAM_SCHEDULERS


class Schedule(_ParamScheduler):
    """Sets the learning rate of every parameter group from the number of updates done.

    A subclass gives the formula in :meth:`value`; its constructor calls this one last, which sets the first rate.

    Args:
        optimizer: optimiser or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.

    Raises:
        ConfigError: if a length or the optimiser's learning rate is not positive.
    """

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *, steps_per_epoch: int, total_steps: int) -> None:
        if steps_per_epoch < 1 or total_steps < 1:
            raise ConfigError(
                "param_scheduler: steps_per_epoch and total_steps must be >= 1, "
                f"got {steps_per_epoch} and {total_steps}"
            )
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.reference_lr = optimizer.defaults["lr"]
        if not self.reference_lr > 0:
            raise ConfigError(f"optim_wrapper.optimizer.lr: must be > 0 for a schedule, got {self.reference_lr}")
        super().__init__(optimizer, param_name="lr", by_epoch=False)

    def value(self, step: int, base: float) -> float:
        """The learning rate at ``step`` of a group whose own is ``base``."""
        raise NotImplementedError

    def lr_at(self, step: int) -> float:
        """The learning rate at ``step`` of parameters in no special group."""
        return self.value(step, self.reference_lr)

    def in_proportion(self, rate: float, base: float) -> float:
        """A rate that belongs to the optimiser's ``lr``, for a group whose own is ``base``."""
        return rate if base == self.reference_lr else rate * base / self.reference_lr

    def state_dict(self) -> dict[str, Any]:
        """The number of updates done; everything else follows from it."""
        return {"step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved number of updates, with this schedule's own formula."""
        self.last_step = self._global_step = state_dict["step"]
        for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
            group["lr"] = value
        self._last_value = [group["lr"] for group in self.optimizer.param_groups]

    def _get_value(self) -> list[float]:
        groups = zip(self.optimizer.param_groups, self.base_values, strict=True)
        return [base if group.get("fixed_lr") else self.value(self.last_step, base) for group, base in groups]


class WarmUpSchedule(Schedule):
    """A schedule that begins with a linear warm-up; a subclass gives what follows in :meth:`value_after`.

    Args:
        optimizer: optimiser or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        start_lr: learning rate of the first update.
        start_factor: the same as a share of the optimiser's.
        warmup_steps: length of the warm-up in updates.
        warmup_epochs: the same in passes over the data.
        warmup_inclusive: reach the optimiser's rate in the warm-up's last update and not after it.

    Raises:
        ConfigError: if something is given twice or out of its range.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        start_lr: float | None,
        start_factor: float | None,
        warmup_steps: int | None,
        warmup_epochs: float | None,
        warmup_inclusive: bool,
    ) -> None:
        where = f"param_scheduler ({type(self).__name__})"
        if start_lr is not None and start_factor is not None:
            raise ConfigError(f"{where}: give start_lr or start_factor, not both")
        if warmup_steps is not None and warmup_epochs is not None:
            raise ConfigError(f"{where}: give warmup_steps or warmup_epochs, not both")
        if (warmup_steps or 0) < 0 or (warmup_epochs or 0) < 0:
            raise ConfigError(f"{where}: the warm-up must not be negative, got {warmup_steps or warmup_epochs}")
        self.start_lr = start_lr
        self.start_factor = start_factor or 0.0
        self.warmup_steps = round((warmup_epochs or 0) * steps_per_epoch) if warmup_steps is None else warmup_steps
        self.warmup_inclusive = warmup_inclusive
        super().__init__(optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps)

    def value_after(self, step: int, base: float) -> float:
        """The learning rate at a ``step`` after the warm-up."""
        raise NotImplementedError

    def value(self, step: int, base: float) -> float:
        """The learning rate at ``step`` of a group whose own is ``base``."""
        if step >= self.warmup_steps:
            return self.value_after(step, base)
        start = base * self.start_factor if self.start_lr is None else self.in_proportion(self.start_lr, base)
        return warm_up(step, start=start, peak=base, steps=self.warmup_steps, inclusive=self.warmup_inclusive)


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(WarmUpSchedule):
    """Linear warm-up, then a cosine: SEER, SwAV, SimCLR and BYOL.

    Args:
        optimizer: optimiser or optim wrapper; its learning rate is the peak.
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
        seam: Seam = "rebased",
    ) -> None:
        if seam not in get_args(Seam):
            raise ConfigError(f"param_scheduler.seam: unknown seam {seam!r}{did_you_mean(seam, get_args(Seam))}")
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
        optimizer: optimiser or optim wrapper; its learning rate is the first epoch's.
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
        optimizer: optimiser or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        epochs: milestones in passes over the data; (120, 160) of 200 is MoCo v1's.
        steps: milestones in updates.
        factor: what each milestone multiplies the rate with.
        start_lr: learning rate of the warm-up's first update, 0 by default.
        start_factor: the same as a share of the optimiser's.
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
            raise ConfigError("param_scheduler (MultiStep): give the milestones as epochs or as steps")
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


@PARAM_SCHEDULERS.register_module()
class HalveOnPlateau(WarmUpSchedule):
    """A constant rate that is halved whenever the loss stops falling: SEER's rule for RegNetY-8GF to 128GF.

    The loss is averaged over windows of updates, one after the other. When no window for ``patience_steps`` updates was
    better than the best one before, the rate is halved and patience starts anew. The paper does not say how it saw that
    the loss had stopped falling, so all three numbers are the caller's.

    Args:
        optimizer: optimiser or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        window: updates averaged over, >= 1.
        patience_steps: updates without improvement before the rate is halved, >= window.
        min_improvement: share of the best loss by which a window must be lower to be better, >= 0.
        start_lr: learning rate of the warm-up's first update, 0 by default.
        start_factor: the same as a share of the optimiser's.
        warmup_steps: length of the warm-up in updates, whose losses do not count.
        warmup_epochs: the same in passes over the data.

    Attributes:
        halvings: how often the rate was halved so far.

    Raises:
        ConfigError: if something is given twice or out of its range.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 4.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        window: int,
        patience_steps: int,
        min_improvement: float,
        start_lr: float | None = None,
        start_factor: float | None = None,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        if window < 1 or patience_steps < window or min_improvement < 0:
            raise ConfigError(
                "param_scheduler (HalveOnPlateau): must be window >= 1, patience_steps >= window and "
                f"min_improvement >= 0, got {window}, {patience_steps} and {min_improvement}"
            )
        self.window = window
        self.patience_steps = patience_steps
        self.min_improvement = min_improvement
        self.halvings = 0
        self.best: float | None = None
        self.steps_since_best = 0
        self.window_sum = 0.0
        self.window_steps = 0
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

    def observe(self, loss: float) -> None:
        """Take note of an update's loss; called before :meth:`step`.

        Args:
            loss: mean over the processes, so that all of them halve at the same time; finite.

        Raises:
            ValueError: if it is not finite.
        """
        if not math.isfinite(loss):
            raise ValueError(f"HalveOnPlateau.observe: the loss must be finite, got {loss}")
        if self.last_step < self.warmup_steps:
            return
        self.window_sum += loss
        self.window_steps += 1
        self.steps_since_best += 1
        if self.window_steps < self.window:
            return
        mean = self.window_sum / self.window_steps
        self.window_sum, self.window_steps = 0.0, 0
        if self.best is None or self.best - mean > self.min_improvement * abs(self.best):
            self.best, self.steps_since_best = mean, 0
        elif self.steps_since_best >= self.patience_steps:
            self.halvings += 1
            self.steps_since_best = 0

    def value_after(self, step: int, base: float) -> float:
        """The learning rate after the halvings so far, whatever the step."""
        return base * 0.5**self.halvings

    def state_dict(self) -> dict[str, Any]:
        """The number of updates done and what the losses so far have come to."""
        names = ("halvings", "best", "steps_since_best", "window_sum", "window_steps")
        return {**super().state_dict(), **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for name, value in state_dict.items():
            if name != "step":
                setattr(self, name, value)
        super().load_state_dict(state_dict)
