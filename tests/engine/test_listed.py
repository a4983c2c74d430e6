"""Every schedule, hook and optimizer that `selfsup list` names can be written in a config, trains and resumes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from selfsup.config.validate import find_problems, with_defaults
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.planning import describe
from selfsup.registry import HOOKS, OPTIMIZERS, PARAM_SCHEDULERS
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.test_utilization import Service
from tests.engine.tiny_run import losses, some_scenes, tiny_config
from tests.listed import listed

MMENGINES: dict[str, dict[str, Any]] = {
    "CosineRestart": {"periods": [2, 2], "restart_weights": [1, 0.5], "eta_min": 0.0},
    "Exponential": {"gamma": 0.9},
    "Linear": {"end": 9},
    "MultiStep": {"milestones": [1, 2]},
    "OneCycle": {"eta_max": 0.1, "total_steps": 4},
    "Poly": {"end": 5},
    "Step": {"step_size": 1},
    "CosineAnnealing": {"T_max": 5},
}
"""What MMEngine's schedules need, by the name without what they move."""

NEEDED: dict[str, dict[str, Any]] = {
    "Cosine": {"param_name": "lr", "end_value": 0.01},
    "MultiStep": {"steps": (1, 2)},
    "HalveOnPlateau": {"window": 1, "patience_steps": 1, "min_improvement": 100.0},
    "WarmupCosine": {"warmup_steps": 2},
    "BadImagesHook": {"max_share": 0.1},
    "EmptyCacheHook": {"after_iter": True},
    "EvaluateHook": {"evaluators": {}},
    "ProfilerHook": {"by_epoch": False},
    "TrackersHook": {"wandb": {}},
}
ALONE = {"ParamSchedulerHook": "scheduler", "ProgressHook": "progress"}
"""Hooks that a run has once, by their names among the hooks of every run."""


def written(name: str) -> dict[str, Any]:
    """A schedule as a config has it, one that moves something from the second step on."""
    if not PARAM_SCHEDULERS.find(name).__module__.startswith("mmengine."):
        return {"type": name, **NEEDED.get(name, {})}
    for kind in ("LR", "Momentum", "ParamScheduler"):
        if name.endswith(kind):
            moved = {"param_name": "lr"} if kind == "ParamScheduler" else {}
            return {"type": name, "by_epoch": False, **MMENGINES.get(name.removesuffix(kind), {}), **moved}
    raise AssertionError(f"{name}: what does it move?")


def config_of(work_dir: Path, *, default_hooks: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Three steps of two an epoch, saved after each."""
    config = tiny_config(work_dir, steps=3, split=None, **changes)
    config["default_hooks"] |= {"checkpoint": {"every_steps": 1, "max_keep": 3}, **(default_hooks or {})}
    config["train_dataloader"]["dataset"] = some_scenes(16)
    return with_defaults(config)


def options(runner: Runner) -> list[tuple[float, float | None]]:
    return [(group["lr"], group.get("momentum")) for group in runner.optim_wrapper.optimizer.param_groups]


def check(config: dict[str, Any]) -> Runner:
    """Train, then the last two steps again, which are in the middle of an epoch."""
    assert find_problems(config) == []
    describe(config)
    whole = Runner(config)
    whole.train()
    recorded = losses(config["work_dir"])
    for step in (2, 3):
        checkpoint_path(config["work_dir"], step).unlink()
    resumed = Runner(config, resume=True)
    resumed.train()
    assert [step for step, _ in recorded] == [1, 2, 3]
    assert (losses(config["work_dir"]), options(resumed)) == (recorded, options(whole))
    return whole


@pytest.mark.parametrize("name", listed(PARAM_SCHEDULERS))
def test_a_listed_schedule_works(name: str, tmp_path: Path) -> None:
    assert options(check(config_of(tmp_path, param_scheduler=written(name)))) != [(0.05, 0.9)]


@pytest.mark.parametrize("name", listed(HOOKS))
def test_a_listed_hook_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = {"type": name, **NEEDED.get(name, {})}
    if name == "TrackersHook":
        monkeypatch.setitem(sys.modules, "wandb", Service())
    if name == "ProfilerHook":
        hook["json_trace_path"] = str(tmp_path / "trace.json")
    hooks = {"default_hooks": {ALONE[name]: hook}} if name in ALONE else {"custom_hooks": [hook]}
    check(config_of(tmp_path / "run", **hooks))
    assert name != "ProfilerHook" or json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("name", "argument", "wrong"),
    [
        ("BadImagesHook", "max_share", 5.0),
        ("CollapseWatchHook", "every_steps", 0),
        ("CollapseWatchHook", "num_images", 1),
        ("OnlineHeadHook", "lr", 0.0),
        ("OnlineHeadHook", "every_steps", 0),
    ],
)
def test_a_number_that_a_hook_cannot_work_with_is_rejected(name: str, argument: str, wrong: float) -> None:
    with pytest.raises(ConfigError) as caught:
        HOOKS.find(name)(**{argument: wrong})
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [(argument, wrong)]


@pytest.mark.parametrize("name", listed(OPTIMIZERS))
def test_a_listed_optimizer_works(name: str, tmp_path: Path) -> None:
    check(config_of(tmp_path, optim_wrapper={"precision": "fp32", "optimizer": {"type": name, "lr": 0.01}}))


@pytest.mark.parametrize("name", ["ReduceOnPlateauLR", "ReduceOnPlateauMomentum", "ReduceOnPlateauParamScheduler"])
def test_a_schedule_that_nothing_would_ever_move_is_rejected_and_not_listed(name: str, tmp_path: Path) -> None:
    (problem,) = find_problems(config_of(tmp_path) | {"param_scheduler": {"type": name}})
    assert problem.path == "param_scheduler.type" and "it waits for the scores" in problem.message
    assert name not in PARAM_SCHEDULERS.names()
