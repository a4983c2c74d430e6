"""What the benchmark of the scenes asks of the recipes that ship."""

from pathlib import Path

import pytest

from benchmarks import scenes
from selfsup.config import config_names, load_config

NAMES = [name for name in config_names() if name.endswith("_scenes")]


@pytest.mark.parametrize("name", NAMES)
def test_within_a_budget_the_whole_schedule_is_as_long_as_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = load_config(name)
    steps = own["train_cfg"]["max_steps"]
    monkeypatch.setattr(scenes, "pace", lambda name, work_dir: 0.5)
    halved = load_config(name, scenes.within(name, steps / 4, tmp_path))
    assert halved["train_cfg"] == {"max_steps": steps // 2}
    moved = {"warmup_steps", "steps"} & set(own["param_scheduler"])
    assert moved
    for key, value in own["param_scheduler"].items():
        half = [step // 2 for step in value] if key == "steps" else value // 2 if key in moved else value
        assert halved["param_scheduler"][key] == half, key


def test_floors_are_kept_for_the_network_and_the_seed_they_belong_to() -> None:
    assert scenes.digest({"a": 1}, 1) == scenes.digest({"a": 1}, 1)
    assert len({scenes.digest({"a": 1}, 1), scenes.digest({"a": 1}, 2), scenes.digest({"a": 2}, 1)}) == 3
