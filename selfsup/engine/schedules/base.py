"""How a learning rate reaches the parameter groups, from step to step and over a resume; formulas are subclasses'."""

from typing import Any

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from selfsup.engine.schedules.rates import warm_up
from selfsup.errors import ConfigError, require


class Schedule(_ParamScheduler):
    """Sets the learning rate of every parameter group from the number of updates done.

    A subclass gives the formula in :meth:`value`; its constructor calls this one last, which sets the first rate.

    Args:
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.

    Attributes:
        from_step_alone: that what it sets does not depend on what it finds: beside it, nothing else can move the rate.

    Raises:
        ConfigError: if a length or the optimizer's learning rate is not positive.
    """

    from_step_alone = True

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *, steps_per_epoch: int, total_steps: int) -> None:
        if steps_per_epoch < 1 or total_steps < 1:
            raise ConfigError.at(
                "", f"steps_per_epoch and total_steps must be >= 1, got {steps_per_epoch} and {total_steps}"
            )
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.reference_lr = optimizer.defaults["lr"]
        require(self.reference_lr > 0, "", "needs an optimizer with lr > 0", got=self.reference_lr)
        super().__init__(optimizer, param_name="lr", by_epoch=False)

    def value(self, step: int, base: float) -> float:
        """The learning rate at ``step`` of a group whose own is ``base``."""
        raise NotImplementedError

    def in_proportion(self, rate: float, base: float) -> float:
        """A rate that belongs to the optimizer's ``lr``, for a group whose own is ``base``."""
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
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        start_lr: learning rate of the first update.
        start_factor: the same as a share of the optimizer's.
        warmup_steps: length of the warm-up in updates.
        warmup_epochs: the same in passes over the data.
        warmup_inclusive: reach the optimizer's rate in the warm-up's last update and not after it.

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
        if start_lr is not None and start_factor is not None:
            raise ConfigError.at("", "give start_lr or start_factor, not both")
        if warmup_steps is not None and warmup_epochs is not None:
            raise ConfigError.at("", "give warmup_steps or warmup_epochs, not both")
        if (warmup_steps or 0) < 0 or (warmup_epochs or 0) < 0:
            raise ConfigError.at("", "the warm-up must not be negative", got=warmup_steps or warmup_epochs)
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
