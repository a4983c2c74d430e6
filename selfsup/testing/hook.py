"""The contract of hooks."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import get_priority

from selfsup.config import DEFAULT_HOOKS
from selfsup.engine.runner import Runner
from selfsup.testing.contract import listed, must, own_random_numbers, require
from selfsup.testing.modules import changes, snapshot
from selfsup.weights.read import read_weights

SIMCLR = {
    "type": "SimCLR",
    "backbone": {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8},
    "neck": {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 8},
    "loss": {"type": "NTXentLoss", "temperature": 0.5},
}
VIEWS = {"type": "SimCLRViews", "size": 32, "blur": False}


def check_hook(
    hook: Hook,
    *,
    method: dict[str, Any] | None = None,
    views: dict[str, Any] | None = None,
    observes: bool = True,
    steps: int = 3,
    seed: int = 0,
) -> None:
    """Check what the engine asks of a hook, in two short trainings: one without it, one with it.

    It is a Hook with a priority that MMEngine knows; the training runs to its end with it; and if it only observes,
    that training is bitwise the one without it: every loss, and at the end the method's state and training flags, the
    optimizer's state, the global random generators, and the backbone that is exported.

    Args:
        hook: built; a copy of it is used.
        method: dict of the method that is trained, for a hook that reads what this method logs or holds; None for a
            small SimCLR.
        views: dict of its view pipeline; None for two views of 32 pixels.
        observes: whether the training must be the same with it; False for hooks that are there to change it.
        steps: length of the trainings: more than the steps between its actions, so that one follows on the first.
        seed: of the trainings.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(hook, Hook), hook, "must be an mmengine.hooks.Hook")
    sentence = f"its priority must be one of MMEngine's words or a number from 0 to 100, got {hook.priority!r}"
    with must(hook, sentence):
        get_priority(hook.priority)
    with must(hook, "must be copyable"):
        used = copy.deepcopy(hook)
    config = _config(method or SIMCLR, views or VIEWS, steps=steps, seed=seed)
    with own_random_numbers(seed), tempfile.TemporaryDirectory() as folder:
        alone = _training({**config, "work_dir": f"{folder}/without"}, None)
        with must(hook, f"a training of {steps} steps must run to its end with it"):
            watched = _training({**config, "work_dir": f"{folder}/with"}, used)
    losses = watched.losses
    require(len(losses) == steps, hook, f"a training of {steps} steps must have as many, got {len(losses)}")
    if observes:
        wrong = ["the losses"] if losses != alone.losses else changes(alone.left, watched.left)
        require(
            not wrong,
            hook,
            f"must not change the training, but changes {listed(wrong)}; pass observes=False if it is there to change "
            "it",
        )


class _Recorder(Hook):
    """Keeps every step's loss, and what a training leaves."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.left: dict[str, Any] = {}

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append(outputs["loss"])

    def look(self, runner: Any) -> None:
        """Once the training is over."""
        exported = [file for file in Path(runner.work_dir).glob("backbone.*") if file.suffix != ".json"]
        self.left = {
            **snapshot(runner.method),
            "the optimizer's state": copy.deepcopy(runner.optim_wrapper.state_dict()),
            "the exported backbone": [
                {name: tensor.clone() for name, tensor in read_weights(file).items()} for file in exported
            ],
        }


def _training(config: dict[str, Any], hook: Hook | None) -> _Recorder:
    runner = Runner(config, device="cpu")
    recorder = _Recorder()
    for each in (hook, recorder):
        if each is not None:
            runner.register_hook(each)
    try:
        runner.train()
        recorder.look(runner)
    finally:
        for handler in list(runner.logger.handlers):
            runner.logger.removeHandler(handler)
            handler.close()
    return recorder


def _config(model: dict[str, Any], views: dict[str, Any], *, steps: int, seed: int) -> dict[str, Any]:
    """A method on a few drawn scenes, without any hook of ours."""
    return {
        "model": model,
        "train_dataloader": {
            "batch_size": 4,
            "num_workers": 0,
            "dataset": {"type": "Scenes", "split": "test", "size": 32, "variants": 1},
            "views": views,
        },
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"max_steps": steps},
        "default_hooks": dict.fromkeys(DEFAULT_HOOKS),
        "seed": seed,
    }
