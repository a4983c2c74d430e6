"""What happens around the steps of a run.

On a full disk a run stops for what it has to leave on record, and goes on without what can be had again:

- Numbers of steps and evaluations: ``runner.metrics_log.write`` returns as ever and keeps what it could not write; the
  loop stops the run after the step.
- A record of a hook's own, such as the images that cannot be read: the hook raises ``RecordError``, which the loop
  takes as it takes ``DataError``. The step's other hooks are called, the state is saved, all processes stop together.
- Pictures, TensorBoard's copy of the numbers, lines of the log: that they are missing is said once.
"""

from selfsup.engine.hooks.bad_images import BadImagesHook
from selfsup.engine.hooks.checkpoint import CheckpointHook
from selfsup.engine.hooks.collapse import CollapseWatchHook
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.hooks.pictures import PictureHook
from selfsup.engine.hooks.progress import ProgressHook

__all__ = ["BadImagesHook", "CheckpointHook", "CollapseWatchHook", "EvaluateHook", "PictureHook", "ProgressHook"]
