"""Configs of tasks and evaluators alone: every part is registered and takes its arguments."""

from pathlib import Path

import pytest

from selfsup.config import find_config
from selfsup.config.read import read_config
from selfsup.data.standard import SETS
from selfsup.evaluation.build import build_evaluators
from selfsup.registry import TASKS

NAMES = sorted(f"eval/{path.stem}" for path in (Path(__file__).parents[2] / "configs" / "eval").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_evaluator_is_built_and_every_task_is_known(name: str) -> None:
    config = read_config(find_config(name))
    evaluators, only = build_evaluators(config["evaluators"])
    assert evaluators and set(only.values()) <= set(config["tasks"])
    for task in config["tasks"].values():
        assert TASKS.get(task["type"]) is not None
        assert task.get("set", "imagenet") in SETS
