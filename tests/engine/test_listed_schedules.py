"""Every schedule that `selfsup list schedules` names can be written in a config, trains and resumes exactly."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.config.validate import find_problems, with_defaults
from selfsup.engine.runner import Runner
from selfsup.planning import describe
from selfsup.registry import PARAM_SCHEDULERS
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.tiny_run import tiny_config
from tests.listed import listed

NEEDED: dict[str, dict[str, Any]] = {
    "CosineRestart": {"periods": [2, 2], "restart_weights": [1, 0.5], "eta_min": 0.0},
    "Exponential": {"gamma": 0.9},
    "Linear": {"end": 9},
    "MultiStep": {"milestones": [1, 2]},
    "OneCycle": {"eta_max": 0.1, "total_steps": 4},
    "Poly": {"end": 5},
    "Step": {"step_size": 1},
    "CosineAnnealing": {"T_max": 5},
}
"""What MMEngine's need, by the name without what they move."""

OURS: dict[str, dict[str, Any]] = {
    "Cosine": {"param_name": "lr", "end_value": 0.01},
    "MultiStep": {"steps": (1, 2)},
    "HalveOnPlateau": {"window": 1, "patience_steps": 1, "min_improvement": 100.0},
    "WarmupCosine": {"warmup_steps": 2},
}


def written(name: str) -> dict[str, Any]:
    """A schedule as a config has it, one that moves something from the second step on."""
    if not PARAM_SCHEDULERS.find(name).__module__.startswith("mmengine."):
        return {"type": name, **OURS.get(name, {})}
    for kind in ("LR", "Momentum", "ParamScheduler"):
        if name.endswith(kind):
            moved = {"param_name": "lr"} if kind == "ParamScheduler" else {}
            return {"type": name, "by_epoch": False, **NEEDED.get(name.removesuffix(kind), {}), **moved}
    raise AssertionError(f"{name}: what does it move?")


def config_of(work_dir: Path, schedule: dict[str, Any]) -> dict[str, Any]:
    checkpoint = {"checkpoint": {"every_steps": 2}, "pictures": None, "evaluate": None, "collapse": None}
    config = tiny_config(work_dir, steps=3, param_scheduler=schedule, default_hooks=checkpoint)
    scenes = {"type": "Scenes", "split": "test", "size": 40}
    config["train_dataloader"]["dataset"] = {"type": "Subset", "dataset": scenes, "count": 16}  # two steps an epoch
    return with_defaults(config | {"split": None})


def options(runner: Runner) -> list[tuple[float, float]]:
    return [(group["lr"], group["momentum"]) for group in runner.optim_wrapper.optimizer.param_groups]


@pytest.mark.parametrize("name", listed(PARAM_SCHEDULERS))
def test_it_is_valid_trains_and_resumes(name: str, tmp_path: Path) -> None:
    config = config_of(tmp_path / "run", written(name))
    assert find_problems(config) == []
    describe(config)
    whole = Runner(config)
    whole.train()
    assert options(whole) != [(0.05, 0.9)]
    checkpoint_path(config["work_dir"], 3).unlink()
    resumed = Runner(config, resume=True)
    resumed.train()
    assert options(resumed) == options(whole)


@pytest.mark.parametrize("name", ["ReduceOnPlateauLR", "ReduceOnPlateauMomentum", "ReduceOnPlateauParamScheduler"])
def test_one_that_nothing_would_ever_move_is_rejected_and_not_listed(name: str, tmp_path: Path) -> None:
    (problem,) = find_problems(config_of(tmp_path, {"type": "MultiStep"}) | {"param_scheduler": {"type": name}})
    assert problem.path == "param_scheduler.type" and "it waits for the scores" in problem.message
    assert name not in PARAM_SCHEDULERS.names()
