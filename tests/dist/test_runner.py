"""A run on two processes is resumable with every process's own state."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import losses, tiny_config

pytestmark = pytest.mark.dist


def train(work_dir: Path, *, steps: int, batch: int, resume: bool = False, **changes: Any) -> None:
    from selfsup.engine.runner import Runner

    config = tiny_config(work_dir, steps=steps, **changes)
    config["train_dataloader"]["batch_size"] = batch
    config["param_scheduler"] = None
    config["channels_last"] = False  # PyTorch's own batch norm is less exact with channels last on CPUs
    Runner(config, resume=resume, device="cpu").train()


def first_part_then_rest(work_dir: Path, length: int) -> None:
    train(work_dir, steps=length, batch=4)
    train(work_dir, steps=6, batch=4, resume=True)


def unsynchronized(work_dir: Path) -> None:
    train(work_dir, steps=6, batch=4)


def test_a_resumed_run_on_two_processes_is_bitwise_with_queues_and_statistics_of_each(tmp_path: Path) -> None:
    run_in_processes(unsynchronized, tmp_path / "whole")
    run_in_processes(first_part_then_rest, tmp_path / "cut", 3)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    saved = Checkpoint.read(list_checkpoints(tmp_path / "cut")[-1])
    assert len(saved.ranks) == 2
    assert any("queue" in name for name in saved.ranks[1]["buffers"])
    assert any("running_mean" in name for name in saved.ranks[1]["buffers"])
