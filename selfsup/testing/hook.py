"""The contract of hooks."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

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
) -> None:
    """Check what the engine asks of a hook, in two short trainings: one without it, one with it.

    It is a Hook that the engine calls; the training runs to its end with it; and if it only observes, that training is
    bitwise the one without it: the method's state and training flags, the optimizer's state, the global random
    generators, and the backbone that is exported.

    Args:
        hook: built; a copy of it is used.
        method: dict of the method that is trained, for a hook that reads what this method logs or holds; None for a
            small SimCLR.
        views: dict of its view pipeline; None for two views of 32 pixels.
        observes: whether the training must be the same with it; False for hooks that are there to change it.
        steps: length of the trainings: more than the steps between its actions, so that one follows on the first.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(hook, Hook), hook, "must be an mmengine.hooks.Hook")
    calls = hook.get_triggered_stages()
    require(bool(calls), hook, "must override a method that the engine calls, such as after_train_iter; it has none")
    model = method or SIMCLR
    with own_random_numbers(), tempfile.TemporaryDirectory() as folder:
        alone = _training(model, views or VIEWS, steps, f"{folder}/without")
        with must(hook, f"a training of {model['type']}, which method= chooses, must run to its end with it"):
            watched = _training(model, views or VIEWS, steps, f"{folder}/with", copy.deepcopy(hook))
    wrong = changes(alone, watched) if observes else []
    sentence = f"must not change the training, but changes {listed(wrong)}"
    require(not wrong, hook, f"{sentence}; pass observes=False if it is there to change it")


def _training(model: dict[str, Any], views: dict[str, Any], steps: int, work_dir: str, *hooks: Hook) -> dict[str, Any]:
    """What a training on a few drawn scenes leaves, by what it is called in a sentence; it has no hook of ours."""
    loader = {
        "batch_size": 4,
        "num_workers": 0,
        "dataset": {"type": "Scenes", "split": "test", "size": 32, "variants": 1},
        "views": views,
    }
    config = {
        "model": model,
        "train_dataloader": loader,
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"max_steps": steps},
        "default_hooks": dict.fromkeys(DEFAULT_HOOKS),
        "work_dir": work_dir,
    }
    runner = Runner(config, device="cpu")
    for hook in hooks:
        runner.register_hook(hook)
    try:
        runner.train()
    finally:
        for handler in list(runner.logger.handlers):
            runner.logger.removeHandler(handler)
            handler.close()
    exported = [file for file in Path(work_dir).glob("backbone.*") if file.suffix != ".json"]
    return {
        "its steps": runner.iter,
        **snapshot(runner.method),
        "the optimizer's state": copy.deepcopy(runner.optim_wrapper.state_dict()),
        "the exported backbone": [copy.deepcopy(dict(read_weights(file))) for file in exported],
    }
