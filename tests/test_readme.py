"""What the README says can be done, can be."""

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfsup.cli import main
from selfsup.config import find_config, load_config
from selfsup.engine.runner import Runner
from selfsup.methods import Progress, SwAV
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


def python_block(word: str) -> str:
    """The only block of Python with this word."""
    (block,) = [body for kind, body in BLOCKS if kind == "python" and word in body]
    return block


@pytest.mark.parametrize("command", TRAIN)
def test_a_training_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.py").write_text(python_block("_base_"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(16):
        cv2.imwrite(str(photos / f"{number}.png"), np.full((64, 64, 3), 15 * number, np.uint8))
    words = [word.replace("~/photos", str(photos)) for word in shlex.split(command)[1:]]
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


def test_the_example_of_a_config_builds_on_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "photos.py"
    path.write_text(python_block("_base_"))
    expected = load_config("simclr/simclr_resnet50").to_dict()
    expected["model"]["backbone"]["depth"] = 18
    expected["train_dataloader"].update(batch_size=64, num_workers=2)
    expected["train_dataloader"]["views"]["size"] = 96
    expected["param_scheduler"]["warmup_epochs"] = 2
    expected["auto_scale_lr"]["rule"] = "sqrt"
    expected["train_cfg"] = {"max_epochs": 20}
    assert load_config(path).to_dict() == expected


def test_the_example_of_using_what_was_trained_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Runner(tiny_config(tmp_path / "work_dirs" / "photos", steps=1)).train()
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/one.png", np.full((40, 40, 3), 90, np.uint8))
    names: dict[str, Any] = {}
    exec(python_block("trained_backbone"), names)
    assert names["features"].shape == (1, names["backbone"].out_dim)


def test_swav_on_one_screen_is_our_swav() -> None:
    block = python_block("sizes, counts")
    assert block.count("\n") <= 45
    small = "sizes, counts, batch, steps, frozen = (48, 32), (2, 1), 6, 3, 2"
    start, loop, body = re.sub(r"^sizes, counts.*$", small, block, flags=re.MULTILINE).partition("for step, samples")
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(start, names)
    method = SwAV(*(copy.deepcopy(names[part]) for part in ("backbone", "neck", "prototypes", "criterion")))
    method.before_step(Progress(step=0, total_steps=3, epoch=0, steps_per_epoch=3))
    expected = method(next(iter(names["loader"])))["loss"]
    losses, weights = [], []
    names["criterion"].register_forward_hook(lambda module, args, loss: losses.append(loss.detach()))
    names["prototypes"].register_forward_hook(
        lambda module, args, scores: weights.append(module.weight.detach().clone())
    )
    exec(loop + body, names)
    assert len(losses) == 3
    torch.testing.assert_close(losses[0], expected, rtol=1e-5, atol=0)
    for weight in weights:
        torch.testing.assert_close(weight.norm(dim=1), torch.ones(len(weight)))
    torch.testing.assert_close(weights[2], weights[0], rtol=0, atol=1e-7)  # frozen in steps 0 and 1
    assert not torch.allclose(names["prototypes"].weight, weights[2], rtol=0, atol=1e-7)
