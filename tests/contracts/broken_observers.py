"""Hooks that each break one promise."""

import threading
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from tests.contracts.rejection import Broken


class Hurried(Hook):
    priority = "AT_ONCE"


class Locked(Hook):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Breaks(Hook):
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise ZeroDivisionError("no batch")


class Ends(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.train_loop.max_iters = 1


class Meddles(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with torch.no_grad():
            for parameter in runner.method.neck.parameters():
                parameter += 1


class AtTheEnd(Hook):
    """Acts when no loss is left to show it."""

    def after_train(self, runner: Any) -> None:
        self.act(runner)

    def act(self, runner: Any) -> None:
        raise NotImplementedError


class ForgetsStatistics(AtTheEnd):
    def act(self, runner: Any) -> None:
        for part in runner.method.backbone.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.reset_running_stats()


class ForgetsBackbone(AtTheEnd):
    def act(self, runner: Any) -> None:
        with torch.no_grad():
            for parameter in runner.method.backbone.parameters():
                parameter.zero_()


class Hastens(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.optim_wrapper.optimizer.param_groups[0]["lr"] = 99.0


class Draws(AtTheEnd):
    def act(self, runner: Any) -> None:
        torch.rand(1)


class Settles(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.method.backbone.eval()


class StopsTraining(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.method.neck.requires_grad_(False)


LATE = "must not change the training, but at its end these are not as without it: "

HOOKS = [
    Broken(object, "must be an mmengine.hooks.Hook"),
    Broken(Hurried, "its priority must be one of MMEngine's words or a number from 0 to 100, got 'AT_ONCE': "),
    Broken(Locked, "must be copyable: TypeError: cannot pickle '_thread.lock' object"),
    Broken(Breaks, "a training of 3 steps must run to its end with it: ZeroDivisionError: no batch"),
    Broken(Ends, "a training of 3 steps must have as many, got 1"),
    Broken(Meddles, "must not change the training, but the loss of step 2 is "),
    Broken(ForgetsStatistics, f"{LATE}the method's state, the exported backbone; pass observes=False if it is there"),
    Broken(ForgetsBackbone, f"{LATE}the method's state, the exported backbone; pass observes=False if it is there"),
    Broken(Hastens, f"{LATE}the optimizer's state; pass observes=False if it is there to change it"),
    Broken(Draws, f"{LATE}the global random generators; pass observes=False if it is there to change it"),
    Broken(Settles, f"{LATE}the training flags; pass observes=False if it is there to change it"),
    Broken(StopsTraining, f"{LATE}requires_grad; pass observes=False if it is there to change it"),
]
