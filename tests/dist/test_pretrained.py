"""Two processes take the weights of one file, or both stop."""

from pathlib import Path

import pytest
import torch

from selfsup.engine.distributed import shard
from selfsup.engine.save import export_backbone
from selfsup.engine.start import TrainedWeights, start_from
from selfsup.errors import CheckpointError
from selfsup.losses import CrossEntropyLoss, InfoNCELoss
from selfsup.methods import MoCo, Supervised
from selfsup.necks import ProjectionNeck
from selfsup.ops.dist import rank
from selfsup.ops.parts import is_sharded, whole
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist


def _teacher() -> Supervised:
    return Supervised(TinyBackbone(), 3, CrossEntropyLoss())


def _filled(folder: str) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Each process sees another folder, as when a file system is behind."""
    teacher, trained = _teacher(), TrainedWeights()
    trained(f"{folder}/{rank()}", teacher)
    return teacher.classifier.weight.detach(), trained.taken


def _rejected(folder: str) -> str:
    try:
        _filled(folder)
    except CheckpointError as error:
        return str(error)
    return ""


def _file(folder: Path, step: int) -> tuple[Path, torch.Tensor]:
    torch.manual_seed(step)
    teacher = _teacher()
    path = checkpoint_path(folder, step)
    Checkpoint(model=teacher.state_dict()).write(path)
    return path, teacher.classifier.weight.detach()


def test_the_file_is_the_one_that_process_0_finds(tmp_path: Path) -> None:
    file, weight = _file(tmp_path / "0", 1)
    _file(tmp_path / "1", 2)
    for found, taken in run_in_processes(_filled, str(tmp_path)):
        assert torch.equal(found, weight)
        assert [entry["file"] for entry in taken] == [str(file)]


def test_what_process_0_does_not_find_stops_both(tmp_path: Path) -> None:
    _file(tmp_path / "1", 2)
    first, second = run_in_processes(_rejected, str(tmp_path))
    assert first == f"{tmp_path}/0: no such checkpoint"
    assert second == f"process 0: {first}"


def _split_teacher(file: str) -> dict[str, torch.Tensor]:
    """A method whose weights are split begins with a file; then the whole of its teacher."""
    torch.manual_seed(0)
    method = MoCo(TinyBackbone(), ProjectionNeck(8, (6,), 4), InfoNCELoss(0.2), queue_length=8)
    shard(method, torch.device("cpu"), min_parameters=1)
    assert is_sharded(method)
    start_from(file, method)
    return {name: whole(tensor).detach() for name, tensor in method.teacher.backbone.state_dict().items()}


def test_a_teacher_whose_weights_are_split_starts_as_a_copy_of_the_student_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    backbone = TinyBackbone()
    backbone(images(8)[0])
    for teacher in run_in_processes(_split_teacher, str(export_backbone(backbone, tmp_path))):
        for name, tensor in backbone.state_dict().items():
            assert torch.equal(teacher[name], tensor), name
