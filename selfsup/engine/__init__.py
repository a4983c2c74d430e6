"""Runs: the loop, optimisers, schedules, checkpoints and hooks."""

from selfsup.engine import hooks, optim, schedule
from selfsup.engine.checkpoint import load_backbone
from selfsup.engine.runner import Runner
from selfsup.engine.trained import trained_backbone

__all__ = ["Runner", "hooks", "load_backbone", "optim", "schedule", "trained_backbone"]
