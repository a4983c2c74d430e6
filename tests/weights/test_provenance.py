"""Cards say by which recipe weights were made, from what they began, and under which terms."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selfsup.cli import main
from selfsup.config import config_name, find_config, load_config
from selfsup.engine.runner import Runner
from selfsup.weights.card import license_of, provenance
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.test_pretrained import distillation, supervised
from tests.engine.tiny_run import tiny_config


def card(work_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work_dir / "backbone.json").read_text())
    return found


def test_a_packaged_recipe_has_one_name_and_one_s_own_the_name_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ("simclr/simclr_scenes", "simclr_scenes", str(find_config("simclr_scenes"))):
        assert config_name(given) == "simclr/simclr_scenes"
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("_base_ = 'simclr/simclr_scenes'\n")
    assert config_name("mine") == "mine" and config_name("./mine.py") == "./mine.py"


def test_a_run_s_config_keeps_its_name_and_what_builds_on_it_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["train_cfg.max_steps=1", "train_dataloader.num_workers=0", "train_dataloader.batch_size=4"]
    quick = ["--device", "cpu", "--work-dir", "w", "--cfg-options", *options, "evaluators={}"]
    assert main(["train", "simclr_scenes", *quick]) == 0
    assert card(Path("w"))["recipe"] == {"config": "simclr/simclr_scenes", "method": "SimCLR"}
    assert load_config("w/config.py").recipe == "simclr/simclr_scenes"
    Path("variant.py").write_text("_base_ = 'w/config'\nseed = 3\n")
    assert load_config("variant.py").recipe is None


def test_a_run_begun_with_a_run_of_one_s_own_carries_its_card_on(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path / "first", steps=3, recipe="swav/one")).train()
    begun_with = list_checkpoints(tmp_path / "first")[-1]
    assert card(tmp_path / "first")["license"] == "yours"
    config = tiny_config(tmp_path / "second", steps=3, recipe="swav/two", load_from=str(begun_with))
    Runner(config).train()
    expected = {
        "config": "swav/two",
        "method": "SwAV",
        "started_from": {
            "file": str(begun_with),
            "sha256": hashlib.sha256(begun_with.read_bytes()).hexdigest(),
            "recipe": {"config": "swav/one", "method": "SwAV"},
            "step": 3,
        },
    }
    assert card(tmp_path / "second")["recipe"] == expected and card(tmp_path / "second")["license"] == "yours"
    newest = list_checkpoints(tmp_path / "second")[-1]
    assert provenance(newest) == {"recipe": expected, "step": 3, "license": "yours"}
    begun_with.unlink()
    del config["load_from"]
    Runner({**config, "train_cfg": {"max_steps": 5}}, resume=True).train()
    assert card(tmp_path / "second")["step"] == 5 and card(tmp_path / "second")["recipe"] == expected


def test_the_terms_of_all_that_a_run_used_stay_each_once() -> None:
    for earlier, now in (
        ("yours", "yours"),
        ("yours, within the terms of seer.pth", "yours, within the terms of seer.pth"),
        ("CC-BY-NC 4.0", "yours, within the terms of w.pth: CC-BY-NC 4.0"),
        (None, "yours, within the terms of w.pth"),
    ):
        assert license_of([{"file": "w.pth", "license": earlier}]) == now
    teacher = {"file": "teacher.pth", "license": "yours, within the terms of seer.pth: CC-BY-NC 4.0"}
    student = {"file": "student.pth", "license": "Apache-2.0"}
    assert license_of([student, teacher, {"file": "own.pth", "license": "yours"}, teacher]) == (
        "yours, within the terms of student.pth: Apache-2.0 and of seer.pth: CC-BY-NC 4.0"
    )
    assert license_of([]) == "yours"


def test_a_student_s_card_names_its_teacher_and_carries_its_card_and_terms_on(tmp_path: Path) -> None:
    Runner(supervised(tmp_path / "teacher", steps=3, recipe="supervised/one")).train()
    (file,) = list_checkpoints(tmp_path / "teacher")
    began = {"file": "seer.pth", "sha256": "0", "license": "CC-BY-NC 4.0"}
    replace(Checkpoint.read(file), started_from=began).write(file)
    config = distillation(tmp_path / "student", tmp_path / "teacher", steps=3, recipe="simclr/two")
    Runner(config).train()
    first = {"config": "supervised/one", "method": "Supervised", "started_from": {"file": "seer.pth", "sha256": "0"}}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    teacher = {"file": str(file), "sha256": digest, "recipe": first, "step": 3}
    expected = {"config": "simclr/two", "method": "Distillation", "taught_by": [teacher]}
    terms = "yours, within the terms of seer.pth: CC-BY-NC 4.0"
    assert card(tmp_path / "student")["recipe"] == expected and card(tmp_path / "student")["license"] == terms
    newest = list_checkpoints(tmp_path / "student")[-1]
    assert provenance(newest) == {"recipe": expected, "step": 3, "license": terms}
    moved = file.rename(tmp_path / "moved.pth")
    config["model"] = config["model"] | {"teacher_checkpoint": str(moved)}
    Runner({**config, "train_cfg": {"max_steps": 4}}, resume=True).train()
    assert card(tmp_path / "student")["recipe"] == {**expected, "taught_by": [{**teacher, "file": str(moved)}]}
