"""Learning rates, and other options of the optimizer, over the steps of a run: a step is one update, 0 the first."""

from selfsup.engine.schedules.schedule import Cosine, EpochCosine, HalveOnPlateau, MultiStep, Schedule, WarmupCosine

__all__ = ["Cosine", "EpochCosine", "HalveOnPlateau", "MultiStep", "Schedule", "WarmupCosine"]
