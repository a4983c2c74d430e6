"""Every hook and every optimizer that `selfsup list` names trains and resumes in the middle of an epoch."""

import json
from pathlib import Path
from typing import Any

import pytest

from selfsup.config.validate import find_problems, with_defaults
from selfsup.engine.runner import Runner
from selfsup.planning import describe
from selfsup.registry import HOOKS, OPTIMIZERS
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.tiny_run import tiny_config
from tests.listed import listed

ALONE = {"ParamSchedulerHook": "scheduler", "ProgressHook": "progress"}
"""Hooks that a run has once, by their names among the hooks of every run."""

NEEDED: dict[str, dict[str, Any]] = {
    "BadImagesHook": {"max_share": 0.1},
    "EmptyCacheHook": {"after_iter": True},
    "EvaluateHook": {"evaluators": {}},
    "ProfilerHook": {"by_epoch": False},
}


def check(work_dir: Path, **changes: Any) -> None:
    """Train three steps of two an epoch, then the last one again."""
    switched_off = {"pictures": None, "evaluate": None, "collapse": None}
    hooks = {"checkpoint": {"every_steps": 1}, **switched_off, **changes.pop("default_hooks", {})}
    config = tiny_config(work_dir, steps=3, default_hooks=hooks, **changes)
    config["train_dataloader"]["dataset"] = {
        "type": "Subset",
        "dataset": {"type": "Scenes", "split": "test", "size": 40},
        "count": 16,
    }
    config = with_defaults(config)
    assert find_problems(config) == []
    describe(config)
    Runner(config).train()
    checkpoint_path(work_dir, 3).unlink()
    checkpoint_path(work_dir, 2).unlink()
    Runner(config, resume=True).train()
    lines = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert checkpoint_path(work_dir, 3).is_file()


@pytest.mark.parametrize("name", listed(HOOKS))
def test_a_listed_hook_works(name: str, tmp_path: Path) -> None:
    hook = {"type": name, **NEEDED.get(name, {})}
    if name == "ProfilerHook":
        hook["json_trace_path"] = str(tmp_path / "trace.json")
    if name in ALONE:
        check(tmp_path / "run", default_hooks={ALONE[name]: hook})
    else:
        check(tmp_path / "run", custom_hooks=[hook])
    assert name != "ProfilerHook" or json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize("name", listed(OPTIMIZERS))
def test_a_listed_optimizer_works(name: str, tmp_path: Path) -> None:
    check(tmp_path / "run", optim_wrapper={"precision": "fp32", "optimizer": {"type": name, "lr": 0.01}})
