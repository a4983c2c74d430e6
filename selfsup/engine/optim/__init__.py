"""Optimizers and what turns losses into updates."""

from selfsup.engine.optim.groups import parameter_groups
from selfsup.engine.optim.lars import LARS
from selfsup.engine.optim.wrapper import PrecisionOptimWrapper

__all__ = ["LARS", "PrecisionOptimWrapper", "parameter_groups"]
