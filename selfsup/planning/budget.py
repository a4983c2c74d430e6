"""A run of so many minutes: its first steps are measured, and its number of steps follows.

The rehearsal is the run itself, in a temporary folder and without a word: same processes, workers, precision and
hooks. What is measured there is thrown away; the run begins anew with a recipe that states its number of steps.
"""

import contextlib
import dataclasses
import gc
import math
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmengine.hooks import Hook

from selfsup.config.batch import effective_batch
from selfsup.config.recipe import Recipe, TrainCfg
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.logging.lines import open_log
from selfsup.engine.logging.metrics import MetricsLog
from selfsup.engine.optim.wrapper import frozen_for
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.ops.dist import broadcast_object, world_size
from selfsup.ops.launch import Launcher

SHARE, SHORTEST, LONGEST = 0.02, 3.0, 10.0
"""Of the budget so much is spent on measuring steps, in seconds at least and at the most."""
MOST_EVALUATIONS, EVALUATING = 8, 0.1
"""Evaluations on the way: so many at the most, in this share of the time."""
CHECKPOINT_SECONDS = 120
RESERVE = 0.02
"""Of the budget, for what is not measured."""

_MANY = 1_000_000  # steps of a rehearsal, which never comes there
_FEWEST_TIMED = 3
_UNITS = {"": 60, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BUDGET = re.compile(r"(?:(\d+(?:\.\d+)?)\s*([smhd]?))", re.I)


def parse_budget(text: str) -> float:
    """Seconds of a text such as ``'30m'``, ``'1h30m'`` or ``'90s'``; a number alone is minutes.

    Raises:
        ConfigError: if it is no time.
    """
    parts = _BUDGET.findall(text.strip())
    if not parts or _BUDGET.sub("", text).strip():
        raise ConfigError.at("--budget", "must be a time", got=text, expected="such as 30m, 1h30m or 90s")
    seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in parts)
    if seconds <= 0:
        raise ConfigError.at("--budget", "must be > 0", got=text)
    return seconds


def clock(seconds: float) -> str:
    """A time as people say it: 45 s, 2 min 11 s, 15 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@dataclass(frozen=True)
class Pace:
    """What a run's parts take, in seconds.

    Args:
        start: from building it to the end of its first step.
        step: one update.
        evaluation: one evaluation.
        checkpoint: one checkpoint.
        looks: for each update, what looks at the features now and then takes.
        end: pictures and the export, after the last step and its evaluation.
        steps_per_epoch: updates in one pass over the images.
        batch: images per update.
        num_images: that are trained on.
        steps_timed: how many updates ``step`` is the mean of.
    """

    start: float
    step: float
    evaluation: float
    checkpoint: float
    looks: float
    end: float
    steps_per_epoch: int
    batch: int
    num_images: int
    steps_timed: int


class _Enough(Exception):
    """The rehearsal has seen what it wanted to see."""


class _Stopwatch(Hook):
    """Notes when each step ends, and leaves the loop when the time is up in the main process."""

    priority = "LOWEST"

    def __init__(self, seconds: float, skip: int) -> None:
        self.seconds = seconds
        self.skip = skip
        self.ends: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Stop after the time, with three steps at least, or four times the time, whatever was seen."""
        now = time.monotonic()
        seconds = now - self.ends[-1] if self.ends else 1.0
        runner.metrics_log.write(runner.iter + 1, {**(outputs or {}), "images_per_second": 1 / seconds})  # for curves
        self.ends.append(now)
        took = self.ends[-1] - self.ends[0]
        enough = took >= self.seconds and len(self.ends) > _FEWEST_TIMED
        if broadcast_object(enough or took >= 4 * self.seconds):
            raise _Enough

    def step(self) -> tuple[float, int]:
        """The mean of the steps once what workers had prepared was used up, or of the later half of fewer; and of how
        many."""
        first = min(self.skip, (len(self.ends) - 1) // 2)
        count = len(self.ends) - 1 - first
        return (self.ends[-1] - self.ends[first]) / count, count


class _Rehearsal(Runner):
    """A run whose lines go to a file alone."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> Any:
        """Nothing on the terminal."""
        return open_log(self.experiment_name, level=log_level, file=f"{self.work_dir}/log", to_terminal=False)

    def rehearse(self, seconds: float, began: float) -> Pace:
        """Train for some seconds, then evaluate, save and draw once."""
        loader = self.recipe.train_dataloader
        watch = _Stopwatch(
            seconds, skip=max(2, (loader.num_workers or 1) * loader.prefetch_factor // self.recipe.accumulate)
        )
        self.register_hook(watch)
        self._start()
        self.method.before_training(self.trained)
        self.metrics_log = MetricsLog(self.work_dir, warn=self.logger.warning)
        self._train_loop = self._build_loop(0)
        with contextlib.suppress(_Enough):
            self._train_loop.run()
        start = (watch.ends[0] if watch.ends else time.monotonic()) - began
        step, count = watch.step() if len(watch.ends) > 1 else (start, 1)
        hooks = [hook for hook in self._hooks if hook is not watch]
        watched = {hook: self._timed(hook) for hook in hooks}
        evaluation = sum(took for hook, took in watched.items() if isinstance(hook, EvaluateHook))
        saving = time.monotonic()
        self.save(self.iter)
        saving = time.monotonic() - saving
        self.metrics_log.close()
        pace = Pace(
            start=start,
            step=step,
            evaluation=evaluation,
            checkpoint=saving,
            looks=self._looks(),
            end=sum(watched.values()) - evaluation + saving,
            steps_per_epoch=self.steps_per_epoch,
            batch=effective_batch(self.recipe, world_size()),
            num_images=len(self.train_images),
            steps_timed=count,
        )
        return broadcast_object(pace)

    def _timed(self, hook: Hook) -> float:
        """What a hook does at the end of a run."""
        began = time.monotonic()
        hook.after_train(self)
        return time.monotonic() - began

    def _looks(self) -> float:
        """What the watch over the features costs, spread over the steps between two looks."""
        given = self.recipe.hooks.get("default_hooks.collapse")
        if given is None:
            return 0.0
        from selfsup.engine.hooks.collapse import CollapseWatchHook

        hook = CollapseWatchHook(**{key: value for key, value in given.items() if key != "type"})
        every, hook.every_steps = hook.every_steps, 1
        hook.before_train(self)
        began = time.monotonic()
        hook.after_train_iter(self, 0, outputs={"loss": 0.0})
        return (time.monotonic() - began) / every


def measure(recipe: Recipe, *, budget: float, device: str | None = None, launcher: Launcher = "none") -> Pace:
    """Find out what a run's parts take, by doing each of them once; all processes call this.

    Args:
        recipe: of the run.
        budget: seconds of the whole run, of which a small share is spent here.
        device: where it computes.
        launcher: what started the processes.
    """
    seconds = min(max(SHARE * budget, SHORTEST), LONGEST)
    with tempfile.TemporaryDirectory(prefix="selfsup_rehearsal_") as folder:
        hooks = {**recipe.default_hooks, "progress": None, "checkpoint": None, "collapse": None}
        long = replace(recipe, train_cfg=TrainCfg(max_steps=_MANY), evaluate_every=0, work_dir=folder)
        # What would have to wait until the end of a million steps is called by hand, once.
        began = time.monotonic()
        runner = _Rehearsal(replace(long, default_hooks=hooks), device=device, launcher=launcher)
        runner.recipe = replace(runner.recipe, default_hooks=recipe.default_hooks)
        try:
            return runner.rehearse(seconds, began)
        finally:
            for handler in runner.logger.handlers:
                handler.close()
            del runner
            gc.collect()  # the loader's workers go now, and not beside those of the run


def within(recipe: Recipe, pace: Pace, seconds: float, *, budget: str, most: int | None = None) -> Recipe:
    """The recipe whose run takes so many seconds: the number of steps, and what follows from it.

    Schedules keep their shape: points that they count in steps or epochs move in proportion. Evaluations and
    checkpoints on the way are spread so that they take a small share of the time.

    Args:
        recipe: of the run.
        pace: see :func:`measure`.
        seconds: from now on.
        budget: as the user gave it, for the record and for messages.
        most: steps at the most; None for no limit.

    Raises:
        ConfigError: if that is not enough for ten steps.
    """
    free = seconds * (1 - RESERVE) - pace.start - pace.end - pace.evaluation
    evaluations = 0
    if pace.evaluation:
        evaluations = min(MOST_EVALUATIONS, int(max(free, 0) * EVALUATING / pace.evaluation))
    saving = pace.checkpoint / max(CHECKPOINT_SECONDS, 50 * pace.step)  # a second of training
    each = (pace.step + pace.looks) * (1 + saving)
    steps = int((free - evaluations * pace.evaluation) / each)
    if steps < 10:
        needed = pace.start + pace.end + pace.evaluation + 10 * each
        raise ConfigError.at(
            "--budget",
            f"{budget} leaves {max(seconds, 0):.0f} s, too few for ten steps",
            expected=f"beside the steps ({pace.step:.3g} s each) this run needs {needed:.0f} s",
        )
    steps = min(steps, most or steps)
    every = math.ceil(steps / (evaluations + 1))
    hooks = dict(recipe.default_hooks)
    if hooks.get("evaluate") is not None and evaluations:
        hooks["evaluate"] = {**hooks["evaluate"], "every_steps": every}
    if hooks.get("checkpoint") is not None:
        apart = max(50, round(CHECKPOINT_SECONDS / pace.step))
        hooks["checkpoint"] = {**hooks["checkpoint"], "every_epochs": None, "every_steps": apart}
    custom = [
        {**hook, "first_step": every} if hook.get("type") == "NeighborsHook" else hook for hook in recipe.custom_hooks
    ]
    return dataclasses.replace(
        with_steps(recipe, steps, steps_per_epoch=pace.steps_per_epoch),
        default_hooks=hooks,
        custom_hooks=custom,
        evaluate_every=0,
        budget=budget,
    )


def with_steps(recipe: Recipe, steps: int, *, steps_per_epoch: int) -> Recipe:
    """The recipe with another number of steps, and what its schedules count moved in proportion.

    Args:
        recipe: of the run.
        steps: of the whole run.
        steps_per_epoch: updates in one pass over the images.
    """
    length = recipe.train_cfg
    before = length.max_steps or (length.max_epochs or 1) * steps_per_epoch
    factor = steps / before
    scheduled: Any = recipe.param_scheduler
    if isinstance(scheduled, Mapping):
        scheduled = moved(scheduled, factor, steps_per_epoch)
    elif scheduled is not None:
        scheduled = [moved(each, factor, steps_per_epoch) for each in scheduled]
    wrapper = dict(recipe.optim_wrapper)
    if factor < 1 and isinstance(wrapper.get("freeze"), Mapping):
        units = {"updates": 1, "epochs": steps_per_epoch}
        lengths = {part: frozen_for(part, given) for part, given in wrapper["freeze"].items()}
        wrapper["freeze"] = {part: round(factor * number * units[unit]) for part, (number, unit) in lengths.items()}
    return replace(recipe, train_cfg=TrainCfg(max_steps=steps), param_scheduler=scheduled, optim_wrapper=wrapper)


def moved(schedule: Mapping[str, Any], factor: float, steps_per_epoch: int) -> dict[str, Any]:
    """A schedule whose points in steps or epochs are so many times as late, in steps."""
    found: dict[str, Any] = {}
    for key, value in schedule.items():
        if value is None or key not in ("warmup_steps", "warmup_epochs", "steps", "epochs"):
            found[key] = value
            continue
        unit = factor * (steps_per_epoch if key.endswith("epochs") else 1)
        many = isinstance(value, list | tuple)
        points = [round(unit * point) for point in (value if many else [value])]
        found[key.replace("epochs", "steps")] = points if many else points[0]
    return found
