"""What one sees while waiting: a bar with the time left, images per second and the share spent waiting for data."""

import sys
import time
from datetime import timedelta
from typing import Any, Literal

from mmengine.hooks import Hook
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from selfsup.engine.logging.utilization import Work, measured_peak, stated_peak
from selfsup.errors import require
from selfsup.ops.dist import is_main, world_size
from selfsup.registry import HOOKS

TIMINGS = ("step_seconds", "data_seconds")
FIRST_LINE = 3.0
"""Seconds from the first step to the first line: that step alone would give a wrong idea of the time left."""

_SOURCES = {type(None): "which its maker states", str: "measured here", float: "as configured", int: "as configured"}


@HOOKS.register_module()
class ProgressHook(Hook):
    """Write every step's numbers to the metrics log, and show a few of them.

    Of a device whose peak is known, ``mfu`` is the share of it that the backbones come to: their multiply-adds of a
    step, forward and backward over all views, without what is computed again for checkpointed stages, over the time of
    the whole step. Of any other device there is no such number.

    Args:
        every_seconds: seconds between lines where the output is no terminal.
        peak: what one process's device reaches in the run's precision, in floating-point operations a second, such as
            312e12; ``'measured'`` takes that of a large matrix product; None what the maker states of the device.

    Raises:
        ConfigError: if the peak is no positive number.
    """

    priority = "HIGH"

    def __init__(self, every_seconds: float = 15.0, *, peak: float | Literal["measured"] | None = None) -> None:
        right = peak is None or peak == "measured" or (not isinstance(peak, str) and peak > 0)
        require(right, "peak", "must be a number > 0, 'measured' or None", got=peak)
        self.every_seconds = every_seconds
        self.peak = peak
        self._work: Work | None = None
        self._mfu = 0.0
        self._bar: Progress | None = None
        self._last_line = 0.0
        self._rate = 0.0
        self._wait = 0.0

    def before_train(self, runner: Any) -> None:
        """Start the bar at the step the run has come to."""
        self._last_line = time.monotonic()
        precision, device = runner.optim_wrapper.precision, runner.device
        stated = stated_peak(device, precision, tf32=runner.recipe.tf32) if self.peak is None else self.peak
        if stated is not None:
            peak = measured_peak(device, precision) if stated == "measured" else float(stated)
            runner.logger.info(f"mfu is the share of {peak / 1e12:.3g} TFLOP/s, {_SOURCES[type(self.peak)]}")
            self._work = Work(runner.method, runner.recipe.model, peak)
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
        if self._work is not None and (share := self._work.share(outputs["step_seconds"])) is not None:
            numbers["mfu"] = share
        runner.metrics_log.write(runner.iter + 1, numbers)
        if not self._rate:
            self._last_line = time.monotonic() - max(0.0, self.every_seconds - FIRST_LINE)
        keep = 0.9 if self._rate else 0.0  # a running mean over about ten steps
        self._rate = keep * self._rate + (1 - keep) * numbers["images_per_second"]
        self._wait = keep * self._wait + (1 - keep) * numbers["data_wait_share"]
        self._mfu = keep * self._mfu + (1 - keep) * numbers.get("mfu", 0.0)
        if not is_main():
            return
        rate = f"{self._rate:.0f}" if self._rate >= 10 else f"{self._rate:.2g}"
        numbers_shown = f"loss {outputs['loss']:.4f}  lr {outputs['lr']:.4g}"
        shown = f"{numbers_shown}  {rate} images/s  data wait {self._wait:.0%}"
        shown += f"  mfu {self._mfu:.0%}" if self._mfu else ""
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
