"""Runs on two processes: equal to one with the whole batch, resumable with every process's own state."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.engine.logging.metrics import read_metrics
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.dist


def losses(work_dir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


def train(work_dir: Path, *, steps: int, batch: int, resume: bool = False, **changes: Any) -> None:
    from selfsup.engine.runner import Runner

    config = tiny_config(work_dir, steps=steps, **changes)
    config["train_dataloader"] = config["train_dataloader"] | {"batch_size": batch}
    config["param_scheduler"] = None
    config["channels_last"] = False  # PyTorch's own batch norm is less exact with channels last on CPUs
    Runner(config, resume=resume, device="cpu").train()


def well_conditioned(work_dir: Path, batch: int) -> None:
    """Maps of more than one pixel, steps so small and assignments so soft that rounding does not grow."""
    config = tiny_config(work_dir, steps=3)
    model = config["model"] | {"loss": {"type": "SwAVLoss", "temperature": 0.5, "epsilon": 0.5}}
    views = config["train_dataloader"]["views"] | {"sizes": (96, 64)}
    dataset = config["train_dataloader"]["dataset"] | {"size": 96}
    optim_wrapper = config["optim_wrapper"] | {"optimizer": {"type": "SGD", "lr": 1e-3, "momentum": 0.9}}
    loader = config["train_dataloader"] | {"views": views, "dataset": dataset}
    changes = {"model": model, "train_dataloader": loader, "optim_wrapper": optim_wrapper}
    train(work_dir, steps=3, batch=batch, sync_bn="all", **changes)


def whole(work_dir: Path) -> None:
    well_conditioned(work_dir, 8)


def halves(work_dir: Path) -> None:
    well_conditioned(work_dir, 4)


def one_step(work_dir: Path, batch: int) -> None:
    """Two micro-batches, synchronized batch norm, recomputed activations: the momentum is the gradient."""
    config = tiny_config(work_dir, steps=1)
    config["model"] |= {"queue_length": 0}
    config["model"]["backbone"] |= {"checkpoint_stages": (1, 2, 3, 4)}
    views = config["train_dataloader"]["views"] | {"sizes": (96, 64)}
    dataset = config["train_dataloader"]["dataset"] | {"size": 96}
    loader = config["train_dataloader"] | {"views": views, "dataset": dataset}
    wrapper = {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 1e-2, "momentum": 0.9}, "accumulative_counts": 2}
    changes = {"model": config["model"], "train_dataloader": loader, "optim_wrapper": wrapper}
    train(work_dir, steps=1, batch=batch, sync_bn="all", **changes)


def momentum(work_dir: Path) -> list[Tensor]:
    state = Checkpoint.read(list_checkpoints(work_dir)[-1]).optim_wrapper["state"]
    return [state[number]["momentum_buffer"] for number in sorted(state)]


def first_part_then_rest(work_dir: Path, length: int) -> None:
    train(work_dir, steps=length, batch=4)
    train(work_dir, steps=6, batch=4, resume=True)


def unsynchronized(work_dir: Path) -> None:
    train(work_dir, steps=6, batch=4)


def test_two_processes_with_half_the_batch_give_the_losses_of_one(tmp_path: Path) -> None:
    whole(tmp_path / "one")
    run_in_processes(halves, tmp_path / "two")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 3
    assert two == pytest.approx(one, rel=1e-4)


def test_two_processes_with_half_of_each_micro_batch_have_the_gradient_of_one(tmp_path: Path) -> None:
    one_step(tmp_path / "one", 8)
    run_in_processes(one_step, tmp_path / "two", 4)
    one, two = momentum(tmp_path / "one"), momentum(tmp_path / "two")
    assert len(one) == len(two) > 20
    for expected, actual in zip(one, two, strict=True):
        if expected.norm() > 1e-4:  # the others, biases before batch norm, are rounding
            assert float((actual - expected).norm() / expected.norm()) < 1e-3
            assert float((actual * expected).sum() / expected.square().sum()) == pytest.approx(1, abs=1e-4)


def test_a_resumed_run_on_two_processes_is_bitwise_with_queues_and_statistics_of_each(tmp_path: Path) -> None:
    run_in_processes(unsynchronized, tmp_path / "whole")
    run_in_processes(first_part_then_rest, tmp_path / "cut", 3)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    saved = Checkpoint.read(list_checkpoints(tmp_path / "cut")[-1])
    assert len(saved.ranks) == 2
    assert any("queue" in name for name in saved.ranks[1]["buffers"])
    assert any("running_mean" in name for name in saved.ranks[1]["buffers"])
