"""What one of two processes finds wrong stops both, with its message and without a wait."""

import re
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.engine.runner import Runner
from selfsup.errors import DecodeError, SelfsupError
from selfsup.ops.dist import rank
from selfsup.registry import BACKBONES, DATASETS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.two_processes import run_in_processes
from tests.engine.narrow import FillsUp, limit
from tests.engine.tiny_run import Noise, losses, tiny_config

pytestmark = pytest.mark.dist


@DATASETS.register_module()
class Apart(Noise):
    """Noise that is not the same everywhere: another length on process 1, or nothing readable there after a while."""

    def __init__(self, *, shorter: int = 0, readable: int = 10**6) -> None:
        super().__init__(64 - shorter * rank())
        self.left = readable if rank() == 1 else 10**6

    def image(self, index: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise DecodeError(f"{self.name(index)}: gone")
        return super().image(index)


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


@BACKBONES.register_module()
class NanOnProcessOne(nn.Module):
    """A linear backbone that gives process 1, and nobody else, something that is not finite from a step on."""

    def __init__(self, *, where: str, step: int = 4, calls: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 8)
        self.out_dim = 8
        self.where, self.left = where, 2 * step * calls  # one call for either view

    def forward(self, images: Tensor) -> Tensor:
        features = self.linear(images.mean((2, 3)))
        self.left -= 1
        if self.left >= 0 or rank() == 0:
            return features
        return features * float("inf") if self.where == "loss" else features + 0 * (features * 0).sqrt()


def not_finite(work_dir: Path, where: str, *, accumulate: int = 1, **changes: Any) -> dict[str, Any]:
    """A method whose processes share gradients alone: what only one of them finds in its loss."""
    config = apart(work_dir) | changes
    config["model"] = {
        "type": "BYOL",
        "backbone": {"type": "NanOnProcessOne", "where": where, "calls": accumulate},
        "neck": {"type": "ProjectionNeck", "hidden_dims": (8,), "out_dim": 8},
        "predictor": {"type": "ProjectionNeck", "hidden_dims": (8,)},
        "loss": {"type": "CosineLoss"},
        "momentum": 0.5,
    }
    config["train_dataloader"]["batch_size"] = 4 // accumulate
    config["train_dataloader"]["views"] |= {"sizes": (32,), "counts": (2,), "scales": ((0.14, 1.0),)}
    del config["optim_wrapper"]["freeze"]
    config["optim_wrapper"]["accumulative_counts"] = accumulate
    return config


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
    for name, options in NOT_FINITE.items():
        found[name] = stopped(not_finite(folder / name, **options))
    found["goes on"] = stopped(apart(folder / "numbers"), resume=True)
    return found


NOT_FINITE: dict[str, dict[str, Any]] = {
    "loss": {"where": "loss"},
    "loss of a part": {"where": "loss", "accumulate": 2},
    "loss of shards": {"where": "loss", "sharding": {"min_parameters": 1}},
    "gradient": {"where": "gradient"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    return run_in_processes(everything, folder)


def said(results: list[dict[str, Any]], name: str) -> list[str]:
    assert all(result[name][1] < 20 for result in results)
    return [result[name][0] for result in results]


def test_data_sets_of_unequal_length_are_rejected_before_the_first_step(results: list[dict[str, Any]]) -> None:
    first, second = said(results, "length")
    assert first == second
    assert first.startswith("DataError: train_dataloader.dataset: process 0 sees 64 images, process 1 sees 59")


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
    assert second == f"CheckpointError: {folder}/node1/checkpoints/step_000000003.pth: no such file"
    assert first == "CheckpointError: process 1: " + second.removeprefix("CheckpointError: ")
    assert len(losses(folder / "node0")) == 3


def test_one_that_both_see_is_gone_on_from(results: list[dict[str, Any]], folder: Path) -> None:
    assert said(results, "fresh and shared") == ["nothing"] * 2
    assert len(losses(folder / "shared")) == 6


def test_a_full_disk_of_the_main_process_stops_both_with_all_steps_saved(
    results: list[dict[str, Any]], folder: Path
) -> None:
    first, second = said(results, "numbers")
    assert first.startswith(f"RecordError: {folder}/numbers/metrics.jsonl: could not be written")
    assert "all 4 steps so far are saved" in first
    assert second == first.replace("RecordError: ", "RecordError: process 0: ")
    assert said(results, "goes on") == ["nothing"] * 2
    assert [step for step, _ in losses(folder / "numbers")] == list(range(1, 7))


def test_a_state_that_cannot_be_saved_either_stops_both(results: list[dict[str, Any]], folder: Path) -> None:
    first, second = said(results, "state")
    assert first.startswith(f"RecordError: {folder}/state/metrics.jsonl: could not be written")
    assert f"; {folder}/state/checkpoints/step_000000004.pth: the checkpoint could not be written" in first
    assert second == first.replace("RecordError: ", "RecordError: process 0: ")
    assert [path.name for path in list_checkpoints(folder / "state")] == ["step_000000003.pth"]


@pytest.mark.parametrize("name", [name for name in NOT_FINITE if name != "gradient"])
def test_a_loss_that_is_not_finite_on_one_process_stops_both_with_its_message(
    results: list[dict[str, Any]], folder: Path, name: str
) -> None:
    first, second = said(results, name)
    images = rf"(\d+(, )?){{{2 if 'part' in name else 4}}}"
    assert re.match(rf"NonFiniteError: step 5: loss\S* is (nan|inf|-inf); images {images};", second)
    assert first == second.replace("NonFiniteError: ", "NonFiniteError: process 1: ")
    (checkpoint,) = list_checkpoints(folder / name)
    assert checkpoint.name == "step_000000003.pth"
    assert all(tensor.isfinite().all() for tensor in Checkpoint.read(checkpoint).model.values())


def test_a_gradient_that_is_not_finite_on_one_process_stops_both(results: list[dict[str, Any]]) -> None:
    for message in said(results, "gradient"):
        assert message.startswith("NonFiniteError: step 5: the gradient of backbone.linear.")
        assert re.search(r"is not finite \(norm nan\); images \d", message)
