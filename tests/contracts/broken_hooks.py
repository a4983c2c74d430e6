"""Hooks that each break one rule."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook

from tests.contracts.rejection import Broken, changed


class Breaks(Hook):
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise ZeroDivisionError("no batch")


class Ends(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.train_loop.max_iters = 1


def at_the_end(act: Callable[[Any], Any]) -> type:
    """Acts when no loss is left to show it."""
    return changed(Hook, after_train=lambda self, runner: act(runner))


@torch.no_grad()
def _forget(runner: Any) -> None:
    for parameter in runner.method.backbone.parameters():
        parameter.zero_()


def _hasten(runner: Any) -> None:
    runner.optim_wrapper.optimizer.param_groups[0]["lr"] = 99.0


CHANGES = "must not change the training, but changes"

HOOKS = [
    Broken(object, "must be an mmengine.hooks.Hook"),
    Broken(changed(Hook, after_training_step=_forget), "must override a method that the engine calls"),
    Broken(Breaks, "a training of SimCLR, which method= chooses, must run to its end with it: ZeroDivisionError"),
    Broken(Ends, f"{CHANGES} its steps, its state"),
    Broken(at_the_end(_forget), f"{CHANGES} its state, the exported backbone"),
    Broken(at_the_end(_hasten), f"{CHANGES} the optimizer's state"),
    Broken(at_the_end(lambda runner: torch.rand(1)), f"{CHANGES} the global random generators"),
    Broken(at_the_end(lambda runner: runner.method.backbone.eval()), f"{CHANGES} its training flags"),
]
