"""A schedule that the losses decide: it keeps what they have come to, and takes it through a resume."""

import math
from typing import Any

from mmengine.optim import BaseOptimWrapper
from torch.optim import Optimizer

from selfsup.engine.schedules.base import WarmUpSchedule
from selfsup.errors import ConfigError
from selfsup.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class HalveOnPlateau(WarmUpSchedule):
    """A constant rate that is halved whenever the loss stops falling: SEER's rule for RegNetY-8GF to 128GF.

    The loss is averaged over windows of updates, one after the other. When no window for ``patience_steps`` updates was
    better than the best one before, the rate is halved and patience starts anew. The paper does not say how it saw that
    the loss had stopped falling, so all three numbers are the caller's.

    Args:
        optimizer: optimizer or optim wrapper.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates of the whole run.
        window: updates averaged over, >= 1.
        patience_steps: updates without improvement before the rate is halved, >= window.
        min_improvement: share of the best loss by which a window must be lower to be better, >= 0.
        start_lr: learning rate of the warm-up's first update, 0 by default.
        start_factor: the same as a share of the optimizer's.
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
            raise ConfigError.at(
                "",
                "must be window >= 1, patience_steps >= window and min_improvement >= 0",
                got=(window, patience_steps, min_improvement),
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
