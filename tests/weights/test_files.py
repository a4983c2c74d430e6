"""A checkpoint is whole or absent, runs nobody's code, and is rejected when it does not fit."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError
from selfsup.weights.checkpoint import checkpoint_path, list_checkpoints
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_atomically


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 3)
    write_atomically({"model": {"w": torch.arange(3)}, "step": 3}, path)
    state = read_checkpoint(path)
    assert state["step"] == 3 and torch.equal(state["model"]["w"], torch.arange(3))
    assert list_checkpoints(tmp_path) == [path]


FILLS_THE_DISK = """
import resource, signal, sys
import torch
from selfsup.weights.checkpoint import checkpoint_path
from selfsup.engine.work_dir import export_backbone
from selfsup.weights.write import write_atomically
from selfsup.errors import CheckpointError

write_atomically({"step": 1}, checkpoint_path(sys.argv[1], 1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails instead, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
for write in (
    lambda: write_atomically({"weights": torch.zeros(10**6)}, checkpoint_path(sys.argv[1], 2)),
    lambda: export_backbone(torch.nn.Linear(1000, 1000), sys.argv[1]),
):
    try:
        write()
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_file_that_cannot_grow_leaves_the_older_checkpoint_and_no_partial_file(tmp_path: Path) -> None:
    program = [sys.executable, "-W", "ignore", "-c", FILLS_THE_DISK, str(tmp_path)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    checkpoint, backbone = done.stdout.splitlines()
    assert re.fullmatch(
        r"\S+step_000000002\.pth: the checkpoint could not be written \(File too large; [\d,.]+ MiB are free there\); "
        r"the newest complete one is \S+step_000000001\.pth; let files grow larger \(ulimit -f\) and run .* --resume",
        checkpoint,
    )
    assert "the weights could not be written" in backbone and "File too large" in backbone
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["step_000000001.pth"]
    assert read_checkpoint(checkpoint_path(tmp_path, 1))["step"] == 1


@pytest.mark.parametrize("kept", [0, 1, 200, -7])
def test_a_truncated_file_is_named_with_its_size(tmp_path: Path, kept: int) -> None:
    path = checkpoint_path(tmp_path, 1)
    write_atomically({"model": {"w": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"step_000000001.pth: .*truncated.* {path.stat().st_size} bytes"):
        read_checkpoint(path)


class _RunsCode:
    def __reduce__(self) -> tuple:
        return os.system, ("touch it_ran",)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_in_it_is_rejected_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    if writer == "torch":
        torch.save({"model": _RunsCode()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": _RunsCode()}))
    with pytest.raises(CheckpointError, match="could run code when loaded"):
        read_checkpoint(path)
    assert not (tmp_path / "it_ran").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such checkpoint file"):
        read_checkpoint(tmp_path / "nowhere.pth")
