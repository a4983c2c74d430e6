"""The contract of hooks."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import get_priority

from selfsup.config import DEFAULT_HOOKS
from selfsup.engine.reading import read_weights
from selfsup.engine.runner import Runner
from selfsup.testing.modules import state_of
from selfsup.testing.promise import (
    global_random_state,
    listed,
    own_random_numbers,
    promise,
    promised,
    same_values,
)


def check_hook(hook: Hook, *, observes: bool = True, steps: int = 3, seed: int = 0) -> None:
    """Check what the engine asks of a hook, in two short trainings: one without it, one with it.

    It is a Hook with a priority that MMEngine knows; the training runs to its end with it; and if it only observes,
    that training is bitwise the one without it: every loss, and at the end the method's state and training flags, the
    optimiser's state, the global random generators, and the backbone that is exported.

    Args:
        hook: built; a copy of it is used.
        observes: whether the training must not notice it; False for hooks that are there to change it.
        steps: length of the trainings: more than the steps between its actions, so that one follows on the first.
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
        alone = _training(Path(folder, "without"), None, steps=steps, seed=seed)
        with promised(hook, f"a training of {steps} steps must run to its end with it"):
            watched = _training(Path(folder, "with"), used, steps=steps, seed=seed)
    losses = watched.losses
    promise(len(losses) == steps, hook, f"a training of {steps} steps must have as many, got {len(losses)}")
    if not observes:
        return
    different = [step for step, both in enumerate(zip(alone.losses, losses, strict=True)) if both[0] != both[1]]
    promise(
        not different,
        hook,
        f"must not change the training, but the loss of step {different[0] + 1 if different else 0} is "
        + (f"{losses[different[0]]:.9g} instead of {alone.losses[different[0]]:.9g}" if different else "")
        + "; pass observes=False if it is there to change it",
    )
    wrong = [name for name in alone.left if not same_values(alone.left[name], watched.left[name])]
    promise(
        not wrong,
        hook,
        f"must not change the training, but at its end these are not as without it: {listed(wrong)}; pass "
        "observes=False if it is there to change it",
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
        method = runner.method
        exported = [file for file in Path(runner.work_dir).glob("backbone.*") if file.suffix != ".json"]
        self.left = {
            "the method's state": state_of(method),
            "the training flags": {name: part.training for name, part in method.named_modules()},
            "requires_grad": {name: parameter.requires_grad for name, parameter in method.named_parameters()},
            "the optimiser's state": copy.deepcopy(runner.optim_wrapper.state_dict()),
            "the global random generators": global_random_state(),
            "the exported backbone": [
                {name: tensor.clone() for name, tensor in read_weights(file).items()} for file in exported
            ],
        }


def _training(work_dir: Path, hook: Hook | None, *, steps: int, seed: int) -> _Recorder:
    runner = Runner(_config(work_dir, steps=steps, seed=seed), device="cpu")
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
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"max_steps": steps},
        "default_hooks": dict.fromkeys(DEFAULT_HOOKS),
        "work_dir": str(work_dir),
        "seed": seed,
    }
