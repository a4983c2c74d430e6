"""Two processes fill a network that a method holds ready from one file, or both stop."""

from pathlib import Path

import pytest
import torch

from selfsup.engine.files import checkpoint_path, write_atomically
from selfsup.engine.pretrained import TrainedWeights
from selfsup.errors import CheckpointError
from selfsup.losses import CrossEntropyLoss
from selfsup.methods import Supervised
from selfsup.ops.dist import rank
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone

pytestmark = pytest.mark.dist


def _teacher() -> Supervised:
    return Supervised(TinyBackbone(), 3, CrossEntropyLoss())


def _filled(folder: str) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Each process sees another folder, as when a file system is behind."""
    teacher, trained = _teacher(), TrainedWeights()
    trained(f"{folder}/{rank()}", teacher)
    return teacher.classifier.weight.detach(), trained.taken


def _refused(folder: str) -> str:
    try:
        _filled(folder)
    except CheckpointError as error:
        return str(error)
    return ""


def _file(folder: Path, step: int) -> tuple[Path, torch.Tensor]:
    torch.manual_seed(step)
    teacher = _teacher()
    path = checkpoint_path(folder, step)
    write_atomically({"model": teacher.state_dict()}, path)
    return path, teacher.classifier.weight.detach()


def test_the_file_is_the_one_that_process_0_finds(tmp_path: Path) -> None:
    file, weight = _file(tmp_path / "0", 1)
    _file(tmp_path / "1", 2)
    for found, taken in run_in_processes(_filled, str(tmp_path)):
        assert torch.equal(found, weight)
        assert [entry["file"] for entry in taken] == [str(file)]


def test_what_process_0_does_not_find_stops_both(tmp_path: Path) -> None:
    _file(tmp_path / "1", 2)
    first, second = run_in_processes(_refused, str(tmp_path))
    assert first == f"{tmp_path}/0: no such checkpoint"
    assert second == f"process 0: {first}"
