"""What happens around the steps of a run.

On a full disk:

- Numbers of steps and evaluations: ``runner.metrics_log.write`` keeps what it could not write, and the loop stops the
  run after the step.
- A hook's own record, such as images that cannot be read: the hook raises ``RecordError``, which the loop handles as
  ``DataError``: the step's other hooks are called, the state is saved, all processes stop together.
- Pictures and TensorBoard's copy of the numbers: the run continues without them and says so.
"""

from selfsup.engine.hooks.bad_images import BadImagesHook
from selfsup.engine.hooks.best_step import BestStepHook
from selfsup.engine.hooks.checkpoint import CheckpointHook
from selfsup.engine.hooks.collapse import CollapseWatchHook
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.hooks.neighbors import NeighborsHook
from selfsup.engine.hooks.online_head import OnlineHeadHook
from selfsup.engine.hooks.pictures import PictureHook
from selfsup.engine.hooks.progress import ProgressHook
from selfsup.engine.hooks.trackers import TrackersHook

__all__ = [
    "BadImagesHook",
    "BestStepHook",
    "CheckpointHook",
    "CollapseWatchHook",
    "EvaluateHook",
    "NeighborsHook",
    "OnlineHeadHook",
    "PictureHook",
    "ProgressHook",
    "TrackersHook",
]
