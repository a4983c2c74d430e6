"""What the README says can be done, can be."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.cli import main
from selfsup.config import find_config, load_config
from selfsup.engine.runner import Runner
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.tiny_run import tiny_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(kind, body) for kind, body in re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)]
COMMANDS = [line.partition(" #")[0].strip() for kind, body in BLOCKS if kind == "bash" for line in body.splitlines()]
TRAIN = [command for command in COMMANDS if command.startswith("selfsup train")]


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_every_named_file_and_recipe_is_there() -> None:
    for script in re.findall(r"tools/\w+\.(?:py|sh)", TEXT):
        assert (ROOT / script).is_file(), script
    for path in re.findall(r"`(selfsup/[\w/]+|LICENSE)`|\]\(([\w./]+)\)", TEXT):
        assert (ROOT / (path[0] or path[1])).exists(), path
    for name in re.findall(r"\b(?:swav|simclr)/\w+", TEXT):
        assert find_config(name).is_file()


@pytest.mark.parametrize("command", TRAIN)
def test_a_training_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few_prototypes.py").write_text(config_example())
    words = [word.replace("~/photos", str(tmp_path)) for word in shlex.split(command)[1:]]
    if "--init-from" in words:  # a dry run asks whether it is there and does not open it
        earlier = checkpoint_path(words[words.index("--init-from") + 1], 1)
        earlier.parent.mkdir(parents=True)
        earlier.touch()
    assert main([*words, "--dry-run"]) == 0


@pytest.mark.parametrize("command", [line for line in COMMANDS if re.match(r"selfsup (list|show|new-plugin)", line)])
def test_a_command_about_components_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out


def config_example() -> str:
    (example,) = [body for kind, body in BLOCKS if kind == "python" and "_base_" in body]
    return example


def test_the_example_of_a_config_builds_on_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "few_prototypes.py"
    path.write_text(config_example())
    expected = load_config("swav/swav_resnet50")
    expected.model["prototypes"]["num_prototypes"] = 300
    expected.train_dataloader.batch_size //= 2
    assert load_config(path) == expected


def test_the_example_of_using_what_was_trained_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Runner(tiny_config(tmp_path / "work_dirs" / "swav_scenes", steps=1)).train()
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/one.png", np.full((40, 40, 3), 90, np.uint8))
    (example,) = [body for kind, body in BLOCKS if kind == "python" and "trained_backbone" in body]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["features"].shape == (1, names["backbone"].out_dim)  # type: ignore[attr-defined]


def test_the_example_for_notebooks_runs() -> None:
    (example,) = [body for kind, body in BLOCKS if kind == "python" and "import torch" in body]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["features"].shape == (2, names["backbone"].out_dim)  # type: ignore[attr-defined]
    assert names["assignments"].shape == (8, 3)  # type: ignore[attr-defined]
