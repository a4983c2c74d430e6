"""What happens around the steps of a run."""

from selfsup.engine.hooks.bad_images import BadImagesHook
from selfsup.engine.hooks.checkpoint import CheckpointHook
from selfsup.engine.hooks.collapse import CollapseWatchHook
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.hooks.progress import ProgressHook

__all__ = ["BadImagesHook", "CheckpointHook", "CollapseWatchHook", "EvaluateHook", "ProgressHook"]
