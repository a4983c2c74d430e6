"""The contract of hooks."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import get_priority

from selfsup.config import DEFAULT_HOOKS
from selfsup.engine.runner import Runner
from selfsup.testing.promise import own_random_numbers, promise, promised


def check_hook(hook: Hook, *, observes: bool = True, steps: int = 2, seed: int = 0) -> None:
    """Check what the engine asks of a hook, in two short trainings: one without it, one with it.

    It is a Hook with a priority that MMEngine knows; the training runs to its end with it; and if it only observes,
    every loss is bitwise the one without it.

    Args:
        hook: built; a copy of it is used.
        observes: whether the training must not notice it; False for hooks that are there to change it.
        steps: length of the trainings.
        seed: of the trainings.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    promise(isinstance(hook, Hook), hook, "must be an mmengine.hooks.Hook")
    with promised(
        hook, f"its priority must be one of MMEngine's words or a number from 0 to 100, got {hook.priority!r}"
    ):
        get_priority(hook.priority)
    with promised(hook, "must be copyable"):
        used = copy.deepcopy(hook)
    with own_random_numbers(seed), tempfile.TemporaryDirectory() as folder:
        alone = _losses(Path(folder, "without"), None, steps=steps, seed=seed)
        with promised(hook, f"a training of {steps} steps must run to its end with it"):
            watched = _losses(Path(folder, "with"), used, steps=steps, seed=seed)
    promise(len(watched) == steps, hook, f"a training of {steps} steps must have as many, got {len(watched)}")
    if observes:
        different = [step for step, losses in enumerate(zip(alone, watched, strict=True)) if losses[0] != losses[1]]
        promise(
            not different,
            hook,
            f"must not change the training, but the loss of step {different[0] if different else 0} is "
            + (f"{watched[different[0]]:.9g} instead of {alone[different[0]]:.9g}" if different else "")
            + "; pass observes=False if it is there to change it",
        )


class _Recorder(Hook):
    """Keeps every step's loss."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append(outputs["loss"])


def _losses(work_dir: Path, hook: Hook | None, *, steps: int, seed: int) -> list[float]:
    runner = Runner(_config(work_dir, steps=steps, seed=seed), device="cpu")
    recorder = _Recorder()
    for each in (hook, recorder):
        if each is not None:
            runner.register_hook(each)
    try:
        runner.train()
    finally:
        for handler in list(runner.logger.handlers):
            runner.logger.removeHandler(handler)
            handler.close()
    return recorder.losses


def _config(work_dir: Path, *, steps: int, seed: int) -> dict[str, Any]:
    """SimCLR on a few drawn scenes, without any hook of ours."""
    return {
        "model": {
            "type": "SimCLR",
            "backbone": {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8},
            "neck": {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 8},
            "loss": {"type": "NTXentLoss", "temperature": 0.5},
        },
        "train_dataloader": {
            "batch_size": 4,
            "num_workers": 0,
            "dataset": {"type": "Scenes", "split": "test", "size": 32, "variants": 1},
            "views": {"type": "SimCLRViews", "size": 32, "blur": False},
        },
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"max_steps": steps},
        "default_hooks": dict.fromkeys(DEFAULT_HOOKS),
        "work_dir": str(work_dir),
        "seed": seed,
    }
