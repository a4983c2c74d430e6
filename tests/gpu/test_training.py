"""Training on one GPU against the CPU, fp16's loss scale, determinism, waits, and the loader."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine.evaluate import evaluate
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.optim import PrecisionOptimWrapper
from selfsup.engine.runner import Runner
from selfsup.ops.random_state import isolated_random_state
from selfsup.registry import BACKBONES, TRANSFORMS
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.gpu

GPU = "cuda"
AGREED_WAITS = 3  # the loss, the gradients, and what is logged


def losses(work_dir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


def trained(work_dir: Path, device: str, precision: str = "fp32", **changes: Any) -> list[float]:
    config = tiny_config(work_dir, steps=3, **changes)
    config["optim_wrapper"] |= {"precision": precision}
    Runner(config, device=device).train()
    return losses(work_dir)


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return trained(tmp_path_factory.mktemp("cpu"), "cpu")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 5e-2), ("fp16", 2e-2)])
def test_three_steps_of_swav_with_a_queue_are_those_of_the_cpu(
    precision: str, tolerance: float, on_cpu: list[float], tmp_path: Path
) -> None:
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU emulates bf16")
    found = trained(tmp_path, GPU, precision)
    compared = 3 if precision == "fp32" else 1  # fp16 may skip updates, and half precision takes other ones
    assert len(found) == 3 and found[:compared] == pytest.approx(on_cpu[:compared], rel=tolerance)


def test_a_gradient_that_overflows_in_fp16_halves_the_scale_and_leaves_the_weights() -> None:
    model = nn.Linear(4, 2).to(GPU)
    wrapper = PrecisionOptimWrapper(torch.optim.SGD(model.parameters(), 0.1), precision="fp16")
    weights, scale = model.weight.detach().clone(), wrapper.scaler.get_scale()
    with wrapper.optim_context(model):
        loss = model(torch.ones(3, 4, device=GPU)).sum() * 1e30
    wrapper.update_params(loss)
    assert torch.equal(model.weight, weights)
    assert wrapper.scaler.get_scale() == scale / 2


@BACKBONES.register_module()
class WithDropout(nn.Module):
    """Random numbers of the GPU in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.out_dim = nn.Conv2d(3, 8, 3, stride=2), nn.Dropout(0.5), 8

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.conv(images).relu().mean((2, 3)))


@pytest.fixture
def undetermined() -> Any:
    yield
    torch.use_deterministic_algorithms(False)


def test_a_resumed_run_with_dropout_repeats_to_the_bit(tmp_path: Path, undetermined: Any) -> None:
    def run(folder: str, steps: int, *, resume: bool = False) -> list[float]:
        config = tiny_config(tmp_path / folder, steps=steps, deterministic=True, param_scheduler=None)
        config["model"]["backbone"] = {"type": "WithDropout"}
        Runner(config, device=GPU, resume=resume).train()
        return losses(tmp_path / folder)

    whole = run("whole", 6)
    run("cut", 3)
    assert run("cut", 6, resume=True) == whole


def test_what_looks_at_a_run_leaves_the_generator_of_the_gpu_alone() -> None:
    before = torch.cuda.get_rng_state()
    with isolated_random_state(torch.device(GPU, torch.cuda.current_device())):
        torch.randn(3, device=GPU)
    assert torch.equal(torch.cuda.get_rng_state(), before)


class CountsWaits(Hook):
    """Counts what waits for the GPU between the beginning of a step and its end, once all is warm."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 4:
            self.context = warnings.catch_warnings(record=True)
            self.caught = self.context.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == 4:
            torch.cuda.set_sync_debug_mode("default")
            self.context.__exit__(None, None, None)


def test_a_step_waits_for_the_gpu_no_more_often_than_agreed(tmp_path: Path) -> None:
    runner = Runner(tiny_config(tmp_path, steps=6), device=GPU)
    counts = CountsWaits()
    runner.register_hook(counts)
    runner.train()
    waits = [str(warning.message) for warning in counts.caught if "called a synchronizing" in str(warning.message)]
    assert len(waits) <= AGREED_WAITS, waits


class Numbered:
    """Images that may be made only where CUDA was not started."""

    def __len__(self) -> int:
        return 8

    def image(self, index: int) -> np.ndarray:
        assert not torch.cuda.is_initialized()
        return np.full((40, 40, 3), index, np.uint8)

    def name(self, index: int) -> str:
        return str(index)


def test_the_loader_pins_keeps_channels_last_and_its_workers_know_no_gpu() -> None:
    torch.ones(1, device=GPU)
    views = TRANSFORMS.build(tiny_config(Path("x"))["train_dataloader"]["views"])
    loader = build_loader(
        ViewDataset(Numbered(), views), StepSampler(8, 4, total_steps=1), num_workers=1, device=GPU
    )  # fmt: skip
    (batch,) = loader
    for view in batch["views"]:
        assert view.is_pinned() and view.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Of one checkpoint on either device."""
    folder = tmp_path_factory.mktemp("scores")
    config = tiny_config(folder, steps=3)
    Runner(config, device="cpu").train()
    config["evaluators"] = {"knn": {"type": "KNN", "k": 20}, "linear": {"type": "LinearProbe"}}
    found = {}
    for device in ("cpu", GPU):
        rows = evaluate(config, checkpoint_path(folder, 3), device=device, note=lambda line: None)
        found[device] = {f"{row.evaluator}/{name}": score.value for row in rows for name, score in row.scores.items()}
    return found


def test_scores_are_those_of_the_cpu_within_half_a_point(scores: dict[str, dict[str, float]]) -> None:
    assert scores[GPU] == pytest.approx(scores["cpu"], abs=0.005)
    assert torch.cuda.max_memory_allocated() < 2**30
