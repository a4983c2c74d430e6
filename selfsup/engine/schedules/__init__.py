"""Learning rates over the steps of a run, as schedulers for configs.

A step is one optimizer update; step 0 is the first. Learning rates given as such (``start_lr``, ``end_lr``) belong to
the optimizer's own ``lr``: a parameter group with another follows the same curve in proportion, and one with
``fixed_lr=True`` keeps its own.
"""

from selfsup.engine.schedules.base import Schedule, WarmUpSchedule
from selfsup.engine.schedules.plateau import HalveOnPlateau
from selfsup.engine.schedules.timed import EpochCosine, MultiStep, WarmupCosine

__all__ = ["EpochCosine", "HalveOnPlateau", "MultiStep", "Schedule", "WarmUpSchedule", "WarmupCosine"]
