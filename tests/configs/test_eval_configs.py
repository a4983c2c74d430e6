"""Configs of tasks and evaluators alone: every part is registered and takes its arguments."""

from pathlib import Path

import pytest

from selfsup.config import find_config
from selfsup.config.read import read_config
from selfsup.data.standard import SETS
from selfsup.evaluation.build import build_evaluators
from selfsup.registry import TASKS

NAMES = sorted(f"eval/{path.stem}" for path in (Path(__file__).parents[2] / "configs" / "eval").glob("*.py"))


@pytest.fixture
def mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of ObjectNet that say what its classes stand for, empty, where configs look for them."""
    folder = tmp_path / "data" / "objectnet" / "mappings"
    folder.mkdir(parents=True)
    for name in ("folder_to_objectnet_label", "objectnet_to_imagenet_1k", "pytorch_to_imagenet_2012_id"):
        (folder / f"{name}.json").write_text("{}")
    (folder / "imagenet_to_label_2012_v2").write_text("")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("mappings")
@pytest.mark.parametrize("name", NAMES)
def test_every_evaluator_is_built_and_every_task_is_known(name: str) -> None:
    config = read_config(find_config(name))
    evaluators, only = build_evaluators(config["evaluators"])
    assert evaluators and set(only.values()) <= set(config["tasks"])
    for task in config["tasks"].values():
        assert TASKS.get(task["type"]) is not None
        assert task.get("set", "imagenet") in SETS
