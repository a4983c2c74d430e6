"""Schedules for configs: a function of the step, and how its value reaches the parameter groups."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from selfsup.engine.schedules.rates import CosineStart, cosine, decayed, epoch_cosine, warm_up, warmup_cosine
from selfsup.errors import ConfigError, nearest
from selfsup.registry import PARAM_SCHEDULERS


class Schedule(_ParamScheduler):
    """Sets an option of the optimizer to ``curve(step)``, where ``step`` is the number of updates done.

    The values belong to the optimizer's own option: a parameter group with another follows in proportion, so that a
    weight decay of 0 stays 0. A group with ``fixed_lr=True`` or ``fixed_weight_decay=True`` keeps its own.

    Args:
        optimizer: optimizer or optim wrapper.
        curve: the option's value at a step.
        param_name: the option.

    Attributes:
        from_step_alone: that it sets the option to the same value whatever it was before, so that no other schedule
            can move that option.

    Raises:
        ConfigError: if the optimizer's own option is not positive.
    """

    from_step_alone = True

    def __init__(
        self, optimizer: Optimizer | BaseOptimWrapper, curve: Callable[[int], float], *, param_name: str = "lr"
    ) -> None:
        self.curve = curve
        self.reference = optimizer.defaults[param_name]
        if not self.reference > 0:
            raise ConfigError.at("", f"needs an optimizer with {param_name} > 0", got=self.reference)
        super().__init__(optimizer, param_name=param_name, by_epoch=False)

    def value(self, step: int, base: float) -> float:
        """The option at ``step`` in a group whose own is ``base``."""
        value = self.curve(step)
        return value if base == self.reference else value * base / self.reference

    def state_dict(self) -> dict[str, Any]:
        """The number of updates done; everything else follows from it."""
        return {"step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved number of updates, along this schedule's own curve."""
        self.last_step = self._global_step = state_dict["step"]
        for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
            group[self.param_name] = value
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

    def _get_value(self) -> list[float]:
        groups = zip(self.optimizer.param_groups, self.base_values, strict=True)
        fixed = f"fixed_{self.param_name}"
        return [base if group.get(fixed) else self.value(self.last_step, base) for group, base in groups]


@PARAM_SCHEDULERS.register_module()
class Cosine(Schedule):
    """Any option of the optimizer along half a cosine from its own value to another: DINO's weight decay.

    Args:
        optimizer: optimizer or optim wrapper, whose own value is the first one.
        total_steps: updates of the whole run, at which ``end_value`` is reached.
        param_name: the option, such as ``'weight_decay'``.
        end_value: the last value.

    Source: Caron et al. 2021, arXiv:2104.14294, section 3.2.
    """

    def __init__(
        self, optimizer: Optimizer | BaseOptimWrapper, *, total_steps: int, param_name: str, end_value: float
    ) -> None:
        first = optimizer.defaults[param_name]
        super().__init__(
            optimizer, lambda step: cosine(step / total_steps, peak=first, end=end_value), param_name=param_name
        )


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(Schedule):
    """Linear warm-up, then a cosine: SEER, SwAV, SimCLR and BYOL.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the peak.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run, at which ``end_lr`` is reached.
        start_lr: learning rate of the first update, 0 by default.
        start_factor: the same as a fraction of the peak.
        end_lr: learning rate the cosine falls to.
        warmup_steps: length of the warm-up in updates.
        warmup_epochs: the same in passes over the data.
        warmup_inclusive: reach the peak in the warm-up's last update, as SwAV's code does, and not after it.
        seam: ``'rebased'`` starts the cosine after the warm-up, as the papers say; ``'vissl_fixed'`` at step 0, as
            VISSL's SEER configs do: the rate drops when the warm-up ends (9.6 to 9.47).

    Raises:
        ConfigError: if something is given twice or out of its range.

    Source: see :func:`~selfsup.engine.schedules.rates.warmup_cosine`.
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
            raise ConfigError.at("seam", f"unknown {seam!r}", expected=nearest(seam, get_args(CosineStart)))
        rise = _warm_up(self, optimizer, steps_per_epoch, start_lr, start_factor, warmup_steps, warmup_epochs)
        curve = partial(
            warmup_cosine, total_steps=total_steps, end=end_lr, inclusive=warmup_inclusive, seam=seam, **rise
        )
        super().__init__(optimizer, curve)


@PARAM_SCHEDULERS.register_module()
class EpochCosine(Schedule):
    """A cosine over the run that moves once per epoch: MoCo v2 and SimSiam.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the first epoch's.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run; a part of an epoch counts as one.
        end_lr: learning rate that the epoch after the last would have.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        end_lr: float = 0.0,
    ) -> None:
        length = {"steps_per_epoch": steps_per_epoch, "total_steps": total_steps}
        super().__init__(optimizer, partial(epoch_cosine, peak=optimizer.defaults["lr"], end=end_lr, **length))


@PARAM_SCHEDULERS.register_module()
class MultiStep(Schedule):
    """A constant rate that is multiplied by a factor at milestones, after a linear warm-up if there is one.

    Args:
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        epochs: milestones in passes over the data; (120, 160) of 200 is MoCo v1's.
        steps: milestones in updates.
        factor: what each milestone multiplies the rate with.
        start_lr: see :class:`WarmupCosine`.
        start_factor: see :class:`WarmupCosine`.
        warmup_steps: see :class:`WarmupCosine`.
        warmup_epochs: see :class:`WarmupCosine`.

    Raises:
        ConfigError: if something is given twice, or no milestone is.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
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
        milestones = [round(epoch * steps_per_epoch) for epoch in epochs or ()] + list(steps or ())
        rise = _warm_up(self, optimizer, steps_per_epoch, start_lr, start_factor, warmup_steps, warmup_epochs)
        length = rise["warmup_steps"]

        def curve(step: int) -> float:
            rate = warm_up(step, **rise)
            return rate if step < length else rate * decayed(step, milestones=milestones, factor=factor)

        super().__init__(optimizer, curve)


@PARAM_SCHEDULERS.register_module()
class HalveOnPlateau(Schedule):
    """A constant rate that is halved whenever the loss stops falling: SEER's rule for RegNetY-8GF to 128GF.

    The loss is averaged over windows of updates, one after the other. When no window for ``patience_steps`` updates was
    better than the best one before, the rate is halved and patience starts again. The paper does not say how it saw
    that the loss had stopped falling, so all three numbers are the caller's.

    Args:
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        window: updates averaged over, >= 1.
        patience_steps: updates without improvement before the rate is halved, >= window.
        min_improvement: fraction of the best loss by which a window must be lower to be better, >= 0.
        start_lr: see :class:`WarmupCosine`.
        start_factor: see :class:`WarmupCosine`.
        warmup_steps: see :class:`WarmupCosine`; losses of the warm-up do not count.
        warmup_epochs: see :class:`WarmupCosine`.

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
        window: int,
        patience_steps: int,
        min_improvement: float,
        start_lr: float | None = None,
        start_factor: float | None = None,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        if window < 1 or patience_steps < window or min_improvement < 0:
            given = (window, patience_steps, min_improvement)
            wanted = "must be window >= 1, patience_steps >= window and min_improvement >= 0"
            raise ConfigError.at("", wanted, got=given)
        self.window = window
        self.patience_steps = patience_steps
        self.min_improvement = min_improvement
        self.rise = _warm_up(self, optimizer, steps_per_epoch, start_lr, start_factor, warmup_steps, warmup_epochs)
        self.halvings = 0
        self.best: float | None = None
        self.steps_since_best = 0
        self.window_sum = 0.0
        self.window_steps = 0
        super().__init__(optimizer, lambda step: warm_up(step, **self.rise) * 0.5**self.halvings)

    def observe(self, loss: float) -> None:
        """Take an update's loss into account; called before :meth:`step`.

        Args:
            loss: mean over the processes, so that all of them halve at the same time; finite.

        Raises:
            ValueError: if it is not finite.
        """
        if not math.isfinite(loss):
            raise ValueError(f"HalveOnPlateau.observe: the loss must be finite, got {loss}")
        if self.last_step < self.rise["warmup_steps"]:
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

    def state_dict(self) -> dict[str, Any]:
        """The number of updates done, and what was found in the losses so far."""
        names = ("halvings", "best", "steps_since_best", "window_sum", "window_steps")
        return {**super().state_dict(), **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for name, value in state_dict.items():
            if name != "step":
                setattr(self, name, value)
        super().load_state_dict(state_dict)


def _warm_up(
    schedule: Schedule,
    optimizer: Optimizer | BaseOptimWrapper,
    steps_per_epoch: int,
    start_lr: float | None,
    start_factor: float | None,
    warmup_steps: int | None,
    warmup_epochs: float | None,
) -> dict[str, Any]:
    """Arguments of :func:`~selfsup.engine.schedules.rates.warm_up` from those of a config."""
    peak = optimizer.defaults["lr"]
    if start_lr is not None and start_factor is not None:
        raise ConfigError.at("", "give start_lr or start_factor, not both")
    if warmup_steps is not None and warmup_epochs is not None:
        raise ConfigError.at("", "give warmup_steps or warmup_epochs, not both")
    if (warmup_steps or 0) < 0 or (warmup_epochs or 0) < 0:
        raise ConfigError.at("", "the warm-up must not be negative", got=warmup_steps or warmup_epochs)
    steps = round((warmup_epochs or 0) * steps_per_epoch) if warmup_steps is None else warmup_steps
    return {
        "peak": peak,
        "start": peak * (start_factor or 0.0) if start_lr is None else start_lr,
        "warmup_steps": steps,
    }
