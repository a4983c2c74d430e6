"""Every block of docs/adding_a_method.md is run as it stands."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from selfsup.cli import main
from selfsup.engine.logging.metrics import read_metrics
from selfsup.ops import dist
from selfsup.registry import METHODS
from tests.dist.two_processes import run_in_processes
from tests.docs.pages import Page
from tests.methods.tiny import TinyBackbone, images

ROOT = Path(__file__).resolve().parents[2]
PAGE = Page("adding_a_method.md")
SHORT = [
    "--device=cpu",
    "--cfg-options",
    "train_cfg.max_steps=4",
    "train_dataloader.batch_size=8",
    "train_dataloader.num_workers=0",
    "evaluators={}",
]


@pytest.fixture
def place(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, which is also the current one."""
    monkeypatch.chdir(PAGE.write(tmp_path))
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def test_its_files_are_there() -> None:
    assert list(PAGE.files) == ["barlow_twins.py", "barlow_twins_scenes.py", "test_barlow_twins.py"]
    for path in re.findall(r"`((?:tests|docs|plugins|selfsup/\w+)/[\w./]+?)`", PAGE.text):
        assert (ROOT / path).exists() or "barlow_twins" in path, path


@pytest.mark.parametrize("command", [line for line in PAGE.commands if "train" in line])
def test_its_commands_train_the_method_on_scenes(command: str, place: Path) -> None:
    words = shlex.split(command)[1:]
    if "--dry-run" in words:
        assert main(words) == 0
        return
    assert main([*words, *SHORT]) == 0
    losses = [line["loss"] for line in read_metrics(place / "work_dirs/barlow_twins_scenes/metrics.jsonl")]
    assert len(losses) == 4 and all(0 < loss < 2 * 256 for loss in losses)
    saved = (place / "work_dirs/barlow_twins_scenes/config.py").read_text()
    assert f"'{place}/barlow_twins.py'" in saved or f'"{place}/barlow_twins.py"' in saved


@pytest.mark.parametrize("command", [line for line in PAGE.commands if "pytest" in line])
def test_its_test_passes(command: str, place: Path) -> None:
    words = [sys.executable, *shlex.split(command)[1:], "-q", "-W", "error", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "7 passed" in result.stdout


def _gradients(folder: str) -> dict[str, Any]:
    """Loss and gradients of this process's share of a batch of eight, batch norm left out of the network."""
    sys.path.insert(0, folder)
    importlib.import_module("barlow_twins")
    torch.manual_seed(0)
    backbone = TinyBackbone()
    backbone.bn = torch.nn.Identity()
    method: Any = METHODS.build(
        {
            "type": "BarlowTwins",
            "backbone": backbone,
            "neck": {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 5},
            "loss": {"type": "BarlowTwinsLoss"},
        }
    ).double()
    share = 8 // dist.world_size()
    mine = slice(dist.rank() * share, (dist.rank() + 1) * share)
    model = DistributedDataParallel(method) if dist.world_size() > 1 else method
    views = [view[mine] for view in images(10, 10, batch=8, dtype=torch.float64)]
    loss = model({"views": views})["loss"]
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad.clone() for name, p in method.named_parameters()}}


@pytest.mark.dist
def test_two_processes_are_one_with_the_whole_batch(place: Path) -> None:
    expected = _gradients(str(place))
    for found in run_in_processes(_gradients, str(place)):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=name)
