"""What the benchmark of the scenes asks of the recipes that ship."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import scenes
from selfsup.config import config_names, load_config

LATER_STEPS = ("HiddenLayers", "Distillation")
"""What recipes are made of that need the weights of another one."""
NAMES = [name for name in config_names() if name.endswith("_scenes") and not name.startswith("transfer/")]


@pytest.mark.parametrize("name", NAMES)
def test_within_a_budget_the_whole_schedule_is_as_long_as_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = load_config(name)
    steps = own.train_cfg.max_steps
    monkeypatch.setattr(scenes, "pace", lambda name, work_dir: 0.5)
    halved = load_config(name, scenes.within(name, steps / 4, tmp_path))
    assert (halved.train_cfg.max_steps, halved.train_cfg.max_epochs) == (steps // 2, None)
    moved = {"warmup_steps", "steps"} & set(own.param_scheduler)
    assert moved
    for key, value in own.param_scheduler.items():
        half = [step // 2 for step in value] if key == "steps" else value // 2 if key in moved else value
        assert halved.param_scheduler[key] == half, key


def test_floors_are_kept_for_the_network_and_the_seed_they_belong_to() -> None:
    assert scenes.digest({"a": 1}, 1) == scenes.digest({"a": 1}, 1)
    assert len({scenes.digest({"a": 1}, 1), scenes.digest({"a": 1}, 2), scenes.digest({"a": 2}, 1)}) == 3


def test_every_recipe_that_needs_another_one_s_weights_is_known_to() -> None:
    needing = {name for name in NAMES if any(f"'{part}'" in str(load_config(name).model) for part in LATER_STEPS)}
    assert needing == set(scenes.STARTS)
    assert scenes.steps_to("simclr/simclr_v2_distill_scenes") == [
        "simclr/simclr_v2_scenes",
        "simclr/simclr_v2_finetune_scenes",
        "simclr/simclr_v2_distill_scenes",
    ]


@pytest.mark.parametrize("name", sorted(scenes.STARTS))
def test_a_later_step_is_given_the_weights_of_the_step_before_of_its_own_seed_and_length(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, before = scenes.STARTS[name]
    written = []

    def run(name: str, seed: int, work_dir: Path, budget: float | None) -> None:
        checkpoint = work_dir / f"{name.replace('/', '_')}_{seed}_{budget:g}s" / "checkpoints" / "step_000000009.pth"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        written.append((name, checkpoint))

    monkeypatch.setattr(scenes, "run", run)
    (option,) = scenes.started(name, 3, tmp_path, 90.0)
    ((trained, checkpoint),) = written
    assert trained == before
    found: Any = load_config(name, [option]).to_dict()
    for part in key.split("."):
        found = found[part]
    assert found == str(checkpoint)
