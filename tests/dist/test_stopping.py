"""What one of two processes finds wrong stops both, with its message and without a wait."""

import re
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from mmengine.hooks import Hook

from selfsup.engine.checkpoint import list_checkpoints
from selfsup.engine.metrics_log import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import DecodeError, SelfsupError
from selfsup.ops.dist import rank
from selfsup.registry import DATASETS
from tests.dist.two_processes import run_in_processes
from tests.engine.narrow import FillsUp, limit
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.dist


@DATASETS.register_module()
class Apart:
    """Noise that is not the same everywhere: another length on process 1, or nothing readable there after a while."""

    labels = None
    classes = None

    def __init__(self, *, shorter: int = 0, readable: int = 10**6) -> None:
        self.length = 64 - shorter * rank()
        self.left = readable if rank() == 1 else 10**6

    def __len__(self) -> int:
        return self.length

    def image(self, index: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise DecodeError(f"{self.name(index)}: gone")
        return np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    def name(self, index: int) -> str:
        return f"noise/{index}.png"


def stopped(config: dict[str, Any], *, before_step: Hook | None = None, **arguments: Any) -> tuple[str, float]:
    """Kind and message of what stopped this process, and after how many seconds."""
    start = monotonic()
    try:
        runner = Runner(config, device="cpu", **arguments)
        if before_step is not None:
            runner.register_hook(before_step)
        runner.train()
    except SelfsupError as error:
        return f"{type(error).__name__}: {error}", monotonic() - start
    return "nothing", monotonic() - start


def apart(work_dir: Path, **dataset: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, steps=6)
    config["train_dataloader"] |= {"batch_size": 4, "dataset": {"type": "Apart", **dataset}}
    config["default_hooks"]["bad_images"] = None
    return config


def everything(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"length": stopped(apart(folder / "length", shorter=5))}
    found["unreadable"] = stopped(apart(folder / "unreadable", readable=14))
    node = folder / f"node{rank()}"  # as if each machine kept a disk of its own under the same name
    Runner(apart(node) | {"train_cfg": {"max_steps": 3}}, device="cpu").train()
    found["not there"] = stopped(apart(node), resume=True)
    shared = folder / "shared"
    Runner(apart(shared) | {"train_cfg": {"max_steps": 3}}, device="cpu").train()
    found["fresh and shared"] = stopped(apart(shared), resume=True)
    for name, room in (("numbers", 100), ("state", None)):
        found[name] = stopped(apart(folder / name), before_step=FillsUp(3, "metrics.jsonl", room))
        limit(-1)
    found["goes on"] = stopped(apart(folder / "numbers"), resume=True)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    return run_in_processes(everything, folder)


def said(results: list[dict[str, Any]], name: str) -> list[str]:
    assert all(result[name][1] < 20 for result in results)
    return [result[name][0] for result in results]


def test_data_sets_of_unequal_length_are_refused_before_the_first_step(results: list[dict[str, Any]]) -> None:
    assert (
        said(results, "length")
        == [
            "DataError: train_dataloader.dataset: process 0 sees 64 images, process 1 sees 59; every process must find the "
            "same files"
        ]
        * 2
    )


def test_images_that_one_process_cannot_read_stop_both_with_all_steps_saved(
    results: list[dict[str, Any]], folder: Path
) -> None:
    first, second = said(results, "unreadable")
    assert first.startswith("DataError: process 1: ") and second.startswith("DataError: ")
    for message in (first, second):
        assert "images in a row cannot be decoded" in message and "all 3 steps so far are saved" in message
    assert [path.name for path in list_checkpoints(folder / "unreadable")] == ["step_000000003.pth"]


def test_a_checkpoint_that_one_process_cannot_see_stops_both(results: list[dict[str, Any]], folder: Path) -> None:
    first, second = said(results, "not there")
    assert second == f"CheckpointError: {folder}/node1/checkpoints/step_000000003.pth: no such checkpoint file"
    assert first == "CheckpointError: process 1: " + second.removeprefix("CheckpointError: ")
    assert len([line for line in read_metrics(folder / "node0" / "metrics.jsonl") if "loss" in line]) == 3


def test_one_that_both_see_is_gone_on_from(results: list[dict[str, Any]], folder: Path) -> None:
    assert said(results, "fresh and shared") == ["nothing"] * 2
    assert len([line for line in read_metrics(folder / "shared" / "metrics.jsonl") if "loss" in line]) == 6


def test_a_full_disk_of_the_main_process_stops_both_with_all_steps_saved(
    results: list[dict[str, Any]], folder: Path
) -> None:
    first, second = said(results, "numbers")
    assert re.fullmatch(
        rf"RecordError: {folder}/numbers/metrics\.jsonl: could not be written \(File too large; [\d,.]+ MiB are free "
        r"there\); let files grow larger \(ulimit -f\); all 4 steps so far are saved, and the same command with --resume "
        "goes on from there",
        first,
    )
    assert second == first.replace("RecordError: ", "RecordError: process 0: ")
    assert said(results, "goes on") == ["nothing"] * 2
    steps = [line["step"] for line in read_metrics(folder / "numbers" / "metrics.jsonl") if "loss" in line]
    assert steps == list(range(1, 7))


def test_a_state_that_cannot_be_saved_either_stops_both(results: list[dict[str, Any]], folder: Path) -> None:
    first, second = said(results, "state")
    assert first.startswith(f"RecordError: {folder}/state/metrics.jsonl: could not be written (File too large; ")
    assert f"; {folder}/state/checkpoints/step_000000004.pth: the checkpoint could not be written" in first
    assert second == first.replace("RecordError: ", "RecordError: process 0: ")
    assert [path.name for path in list_checkpoints(folder / "state")] == ["step_000000003.pth"]
