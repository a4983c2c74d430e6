"""When to save and which checkpoints to keep; stands in for MMEngine's hook, which knows its own format only."""

from mmengine.hooks import Hook

from selfsup.config import dist_timeout
from selfsup.engine.saver import ShardedSaver
from selfsup.errors import require
from selfsup.ops.dist import is_main
from selfsup.registry import HOOKS
from selfsup.weights.checkpoint import forget_old


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save every so many epochs or steps, and after the last step.

    Args:
        every_epochs: epochs between checkpoints; None for none.
        every_steps: optimizer updates between checkpoints; None for none.
        min_steps: optimizer updates since the last checkpoint, below which the end of an epoch makes none, >= 1: with a
            folder of few images every step may end one.
        max_keep: how many of the newest to keep, >= 1.
        sharded: every process writes its part into a folder ``step_N``, where else the main one collects all of it
            and writes one file; the work dir must be shared by all.
        asynchronous: training goes on while the state, once copied, is written; needs ``sharded``.

    Raises:
        ConfigError: if a number is out of its range, or ``asynchronous`` is given alone.
    """

    priority = "VERY_LOW"  # once schedules have moved on, by step and by epoch: see TrainLoop

    def __init__(
        self,
        every_epochs: int | None = 1,
        *,
        every_steps: int | None = None,
        min_steps: int = 50,
        max_keep: int = 2,
        sharded: bool = False,
        asynchronous: bool = False,
    ) -> None:
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            require(value is None or value >= 1, name, "must be >= 1 or None", got=value)
        for name, value in (("min_steps", min_steps), ("max_keep", max_keep)):
            require(value >= 1, name, "must be >= 1", got=value)
        require(sharded or not asynchronous, "asynchronous", "needs sharded=True")
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.min_steps = min_steps
        self.max_keep = max_keep
        self.sharded = sharded
        self.asynchronous = asynchronous

    def before_run(self, runner) -> None:  # type: ignore[no-untyped-def]
        """Say how the run saves."""
        if self.sharded:
            timeout = dist_timeout(runner.recipe)
            runner.saver = ShardedSaver(asynchronous=self.asynchronous, max_keep=self.max_keep, timeout=timeout)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Save if it is time."""
        done, loop = runner.iter + 1, runner.train_loop
        due = done == loop.max_iters or (self.every_steps is not None and done % self.every_steps == 0)
        if self.every_epochs and done - (runner.saved_step or 0) >= self.min_steps:
            due = due or done % (self.every_epochs * loop.steps_per_epoch) == 0
        if due:
            runner.save(done)
            if is_main() and not self.sharded:  # else once it is complete
                forget_old(runner.work_dir, self.max_keep)
