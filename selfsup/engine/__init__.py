"""Runs: the loop, optimizers, schedules, checkpoints and hooks."""

from selfsup.engine import hooks, optim, schedules
from selfsup.engine.runner import Runner

__all__ = ["Runner", "hooks", "optim", "schedules"]
