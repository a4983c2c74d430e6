"""Schedules for configs: a function of the step, 0 the first, and how its value reaches the parameter groups."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from selfsup.errors import ConfigError, nearest, require
from selfsup.registry import PARAM_SCHEDULERS

CosineStart = Literal["rebased", "vissl_fixed"]


class Schedule(_ParamScheduler):
    """Sets an option of the optimizer to ``curve(step)``, where ``step`` is the number of updates done, whatever it was
    before: no other schedule can move that option.

    The values belong to the optimizer's own option: a parameter group with another follows in proportion, so that a
    weight decay of 0 stays 0. A group with ``fixed_lr=True`` or ``fixed_weight_decay=True`` keeps its own.

    Args:
        optimizer: optimizer or optim wrapper.
        curve: the option's value at a step.
        param_name: the option.

    Raises:
        ConfigError: if the optimizer's own option is not positive.
    """

    def __init__(
        self, optimizer: Optimizer | BaseOptimWrapper, curve: Callable[[int], float], *, param_name: str = "lr"
    ) -> None:
        self.curve = curve
        self.reference = optimizer.defaults[param_name]
        require(self.reference > 0, "", f"needs an optimizer with {param_name} > 0", got=self.reference)
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
        self._last_value = self._get_value()
        for group, value in zip(self.optimizer.param_groups, self._last_value, strict=True):
            group[self.param_name] = value

    def _get_value(self) -> list[float]:
        groups = zip(self.optimizer.param_groups, self.base_values, strict=True)
        fixed = f"fixed_{self.param_name}"
        return [base if group.get(fixed) else self.value(self.last_step, base) for group, base in groups]


def cosine(progress: float, *, first: float, last: float) -> float:
    """From ``first`` at progress 0 to ``last`` at progress 1 along half a cosine.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def warm_up(step: int, *, peak: float, start: float, steps: int, inclusive: bool = False) -> float:
    """A straight rise from ``start`` at step 0 to ``peak`` after so many steps, and ``peak`` from there on.

    ``inclusive`` reaches the peak one step earlier, within the rise, as SwAV's ``np.linspace`` does.
    """
    length = steps - 1 if inclusive else steps
    if step >= steps:
        return peak
    return start + (peak - start) * step / length if length else start


def _warmup_length(steps: int | None, epochs: float | None, steps_per_epoch: int) -> int:
    """In updates, however a config gives it."""
    if steps is not None and epochs is not None:
        raise ConfigError.at("", "give warmup_steps or warmup_epochs, not both")
    length = round((epochs or 0) * steps_per_epoch) if steps is None else steps
    require(length >= 0, "", "the warm-up must not be negative", got=length)
    return length


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
            optimizer, lambda step: cosine(step / total_steps, first=first, last=end_value), param_name=param_name
        )


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(Schedule):
    """Linear warm-up, then a cosine: SEER, SwAV, SimCLR and BYOL.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the peak.
        steps_per_epoch, total_steps: updates in one pass over the data, and in the whole run.
        start_lr: learning rate of the first update, if there is a warm-up.
        end_lr: learning rate that the cosine reaches at ``total_steps``.
        warmup_steps, warmup_epochs: length of the warm-up in updates, or in passes over the data.
        warmup_inclusive: reach the peak in the warm-up's last update, as SwAV's code does, and not after it.
        seam: ``'rebased'`` starts the cosine after the warm-up, as the papers say; ``'vissl_fixed'`` at step 0, as
            VISSL's SEER configs do: the rate drops when the warm-up ends (9.6 to 9.47).

    Raises:
        ConfigError: if something is given twice or out of its range.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 3 (rebased); VISSL's SEER configs, interval scaling
        [rescaled, fixed] (vissl_fixed); SwAV's main_swav.py (inclusive).
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        start_lr: float = 0.0,
        end_lr: float = 0.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
        warmup_inclusive: bool = False,
        seam: CosineStart = "rebased",
    ) -> None:
        require(
            seam in get_args(CosineStart), "seam", f"unknown {seam!r}", expected=nearest(seam, get_args(CosineStart))
        )
        length = _warmup_length(warmup_steps, warmup_epochs, steps_per_epoch)
        peak, first = optimizer.defaults["lr"], length if seam == "rebased" else 0

        def curve(step: int) -> float:
            if step < length:
                return warm_up(step, peak=peak, start=start_lr, steps=length, inclusive=warmup_inclusive)
            return cosine((step - first) / max(total_steps - first, 1), first=peak, last=end_lr)

        super().__init__(optimizer, curve)


@PARAM_SCHEDULERS.register_module()
class EpochCosine(Schedule):
    """A cosine over the run that moves once per epoch: MoCo v2 and SimSiam.

    Args:
        optimizer: optimizer or optim wrapper; its learning rate is the first epoch's.
        steps_per_epoch, total_steps: updates in one pass over the data, and in the whole run; a part of an epoch counts
            as one.
        end_lr: learning rate that the epoch after the last would have.

    Source: MoCo's main_moco.py and SimSiam's main_simsiam.py, adjust_learning_rate.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        total_steps: int,
        end_lr: float = 0.0,
    ) -> None:
        first, epochs = optimizer.defaults["lr"], math.ceil(total_steps / steps_per_epoch)
        super().__init__(optimizer, lambda step: cosine(step // steps_per_epoch / epochs, first=first, last=end_lr))


@PARAM_SCHEDULERS.register_module()
class MultiStep(Schedule):
    """A constant rate that is multiplied by a factor at milestones, after a linear warm-up if there is one.

    Args:
        optimizer, steps_per_epoch, start_lr, warmup_steps, warmup_epochs: see :class:`WarmupCosine`.
        epochs: milestones in passes over the data; (120, 160) of 200 is MoCo v1's.
        steps: milestones in updates.
        factor: what each milestone multiplies the rate with.

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
        start_lr: float = 0.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ConfigError.at("", "give the milestones as epochs or as steps")
        milestones = [round(epoch * steps_per_epoch) for epoch in epochs or ()] + list(steps or ())
        length = _warmup_length(warmup_steps, warmup_epochs, steps_per_epoch)
        peak = optimizer.defaults["lr"]

        def curve(step: int) -> float:
            passed = sum(step >= milestone for milestone in milestones) if step >= length else 0
            return warm_up(step, peak=peak, start=start_lr, steps=length) * factor**passed

        super().__init__(optimizer, curve)


@PARAM_SCHEDULERS.register_module()
class HalveOnPlateau(Schedule):
    """A constant rate that is halved whenever the loss stops falling: SEER's rule for RegNetY-8GF to 128GF.

    The loss is averaged over windows of updates, one after the other. When no window for ``patience_steps`` updates was
    better than the best one before, the rate is halved and patience starts again. The paper does not say how it saw
    that the loss had stopped falling, so all three numbers are the caller's.

    Args:
        optimizer, steps_per_epoch, start_lr, warmup_steps, warmup_epochs: see :class:`WarmupCosine`.
        window: updates averaged over, >= 1; those of a warm-up do not count.
        patience_steps: updates without improvement before the rate is halved, >= window.
        min_improvement: fraction of the best loss by which a window must be lower to be better, >= 0.

    Attributes:
        halvings: how often the rate was halved so far.

    Raises:
        ConfigError: if something is given twice or out of its range.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 4.
    """

    found_in_losses = ("halvings", "best", "steps_since_best", "window_sum", "window_steps")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        *,
        steps_per_epoch: int,
        window: int,
        patience_steps: int,
        min_improvement: float,
        start_lr: float = 0.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        require(window >= 1, "window", "must be >= 1", got=window)
        require(patience_steps >= window, "patience_steps", f"must be >= window, {window}", got=patience_steps)
        require(min_improvement >= 0, "min_improvement", "must be >= 0", got=min_improvement)
        self.window = window
        self.patience_steps = patience_steps
        self.min_improvement = min_improvement
        self.warmup_length = _warmup_length(warmup_steps, warmup_epochs, steps_per_epoch)
        rise = partial(warm_up, peak=optimizer.defaults["lr"], start=start_lr, steps=self.warmup_length)
        self.halvings = 0
        self.best: float | None = None
        self.steps_since_best = 0
        self.window_sum = 0.0
        self.window_steps = 0
        super().__init__(optimizer, lambda step: rise(step) * 0.5**self.halvings)

    def observe(self, loss: float) -> None:
        """Take into account an update's loss, the mean over the processes; called before :meth:`step`."""
        if self.last_step < self.warmup_length:
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
        return super().state_dict() | {name: getattr(self, name) for name in self.found_in_losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for name in self.found_in_losses:
            setattr(self, name, state_dict[name])
        super().load_state_dict(state_dict)
