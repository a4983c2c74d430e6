"""What one sees while waiting: a bar with the time left, images per second and the share spent waiting for data."""

import sys
import time
from datetime import timedelta
from typing import Any

from mmengine.hooks import Hook
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from selfsup.ops.dist import is_main, world_size
from selfsup.registry import HOOKS

TIMINGS = ("step_seconds", "data_seconds")
FIRST_LINE = 3.0
"""Seconds from the first step to the first line: that step alone would give a wrong idea of the time left."""


@HOOKS.register_module()
class ProgressHook(Hook):
    """Write every step's numbers to the metrics log, and show a few of them.

    Args:
        every_seconds: seconds between lines where the output is no terminal.
    """

    priority = "HIGH"

    def __init__(self, every_seconds: float = 15.0) -> None:
        self.every_seconds = every_seconds
        self._bar: Progress | None = None
        self._last_line = 0.0
        self._rate = 0.0
        self._wait = 0.0

    def before_train(self, runner: Any) -> None:
        """Start the bar at the step the run has come to."""
        self._last_line = time.monotonic()
        if is_main() and sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                speed_estimate_period=120,
            )
            self._bar.start()
            self._bar.add_task("training", total=runner.max_iters, completed=runner.iter, numbers="")

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Log the step."""
        images = sum(len(batch["index"]) for batch in data_batch) * world_size()
        numbers = {name: value for name, value in outputs.items() if name not in TIMINGS}
        numbers["images_per_second"] = images / outputs["step_seconds"]
        numbers["data_wait_share"] = outputs["data_seconds"] / outputs["step_seconds"]
        runner.metrics_log.write(runner.iter + 1, numbers)
        if not self._rate:
            self._last_line = time.monotonic() - max(0.0, self.every_seconds - FIRST_LINE)
        keep = 0.9 if self._rate else 0.0  # a running mean over about ten steps
        self._rate = keep * self._rate + (1 - keep) * numbers["images_per_second"]
        self._wait = keep * self._wait + (1 - keep) * numbers["data_wait_share"]
        if not is_main():
            return
        rate = f"{self._rate:.0f}" if self._rate >= 10 else f"{self._rate:.2g}"
        numbers_shown = f"loss {outputs['loss']:.4f}  lr {outputs['lr']:.4g}"
        shown = f"{numbers_shown}  {rate} images/s  data wait {self._wait:.0%}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=runner.iter + 1, numbers=shown)
        elif time.monotonic() - self._last_line >= self.every_seconds or runner.iter + 1 == runner.max_iters:
            self._last_line = time.monotonic()
            shown += _from_cache(runner)
            left = (runner.max_iters - runner.iter - 1) * images / max(self._rate, 1e-9)
            runner.logger.info(
                f"step {runner.iter + 1}/{runner.max_iters}  {shown}  {timedelta(seconds=round(left))} left"
            )

    def after_train(self, runner: Any) -> None:
        """Take the bar down."""
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was; called on errors too."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _from_cache(runner: Any) -> str:
    """Of shards that are fetched, how many reads found theirs on this machine."""
    served = getattr(runner.train_images, "served", None)
    reads, waited = (served and served()) or (0, 0)
    return f"  cache hits {1 - waited / reads:.1%}" if reads else ""
