"""A run does what it says, goes on bitwise after any kind of stop, and says clearly why it stopped."""

import os
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.engine import evaluate as evaluate_module
from selfsup.engine import runner as runner_module
from selfsup.engine.evaluate import evaluate
from selfsup.engine.interrupt import Interrupted
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError, DataError, DecodeError, NonFiniteError
from selfsup.registry import BACKBONES, DATASETS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.load import load_backbone
from tests.engine.test_pretrained import supervised
from tests.engine.tiny_run import BACKBONE, Noise, losses, moco_config, power_off, tiny_config, trained


class After(Hook):
    """Does something after a step's update."""

    def __init__(self, step: int, action: Callable[[], None], priority: str = "VERY_LOW") -> None:
        self.step, self.action, self.priority = step, action, priority

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.step:
            self.action()


def test_a_run_leaves_everything_the_work_dir_promises(tmp_path: Path) -> None:
    runner = trained(tiny_config(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"config.py", "environment.json", "metrics.jsonl", "checkpoints", "backbone.safetensors"}
    assert [step for step, _ in losses(tmp_path)] == list(range(1, 9))
    fresh = BACKBONES.build(BACKBONE)
    load_backbone(tmp_path / "backbone.safetensors", fresh)
    torch.testing.assert_close(fresh.state_dict(), runner.method.backbone.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("", lambda _: lambda views, labels: {"loss": torch.zeros(len(views[0]))}, r"got \(8,\) as 'loss'"),
        ("", torch.no_grad(), "must return a loss with a gradient"),
        ("backbone", lambda forward: lambda images: forward(images).detach(), "must return features with a gradient"),
    ],
    ids=["no number", "no_grad", "backbone"],
)
def test_a_method_that_cannot_learn_is_named_before_anything_is_written(
    part: str, change: Callable[..., Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(tiny_config(tmp_path))
    before = {name: tensor.clone() for name, tensor in runner.method.backbone.named_parameters()}
    of, name = (runner.method.backbone, "forward") if part else (runner.method, "loss")
    monkeypatch.setattr(of, name, change(getattr(of, name)))
    with pytest.raises(ConfigError, match=said) as caught:
        runner.train()
    assert str(caught.value).startswith(f"model.{part}: " if part else "model: ")
    assert all(torch.equal(tensor, before[name]) for name, tensor in runner.method.backbone.named_parameters())
    assert not list_checkpoints(tmp_path)


def test_a_part_of_the_loss_may_be_without_a_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tiny_config(tmp_path / "plain", steps=2))
    runner = Runner(tiny_config(tmp_path / "raised", steps=2))
    loss = runner.method.loss
    monkeypatch.setattr(runner.method, "loss", lambda *batch: {**loss(*batch), "loss_constant": torch.tensor(1.0)})
    runner.train()
    plain, raised = (dict(losses(tmp_path / name)) for name in ("plain", "raised"))
    assert raised == pytest.approx({step: value + 1 for step, value in plain.items()}, abs=1e-6)


def accumulating(work_dir: Path) -> dict[str, Any]:
    config = tiny_config(work_dir)
    config["train_dataloader"]["batch_size"] = 4
    config["optim_wrapper"]["accumulative_counts"] = 2
    return config


@pytest.mark.parametrize("config_of", [tiny_config, accumulating, moco_config, supervised])
def test_a_run_that_was_switched_off_goes_on_bitwise(tmp_path: Path, config_of: Callable[..., dict[str, Any]]) -> None:
    Runner(config_of(tmp_path / "whole")).train()
    power_off(config_of(tmp_path / "cut"), 4)
    assert [path.name for path in list_checkpoints(tmp_path / "cut")] == ["step_000000003.pth"]
    Runner(config_of(tmp_path / "cut"), resume=True).train()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    cut, whole = (Checkpoint.read(list_checkpoints(tmp_path / name)[-1]).model for name in ("cut", "whole"))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)
    assert config_of is not moco_config or int(whole["queue.pointer"]) == 8 * 8 % 24


def test_resuming_reads_only_the_images_that_are_left(tmp_path: Path) -> None:
    power_off(tiny_config(tmp_path), 6)
    runner = Runner(tiny_config(tmp_path), resume=True)
    start = runner._start()
    drawn: list[int] = []
    image = runner.train_images.image
    runner.train_images.image = lambda index: drawn.append(index) or image(index)  # type: ignore[func-returns-value]
    assert start == 6
    next(iter(runner._build_loop(start).dataloader))
    assert len(drawn) == 8


def decaying(work_dir: Path) -> dict[str, Any]:
    return tiny_config(work_dir, param_scheduler={"type": "ExponentialLR", "gamma": 0.9, "by_epoch": False}, seed=3)


@pytest.fixture(scope="module")
def decayed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, float]]:
    """The losses of a run with a schedule of MMEngine's that was left alone."""
    folder = tmp_path_factory.mktemp("decayed")
    Runner(decaying(folder)).train()
    return losses(folder)


def images_at_fault() -> None:
    raise DataError("images are at fault")


@pytest.mark.parametrize(
    ("action", "priority", "error", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGINT), "VERY_LOW", Interrupted, "stopped after step 4"),
        (images_at_fault, "NORMAL", DataError, "images are at fault; all 4 steps so far are saved; .*--resume"),
    ],
    ids=["ctrl-c", "images"],
)
def test_what_stops_a_run_saves_first_and_the_run_goes_on_bitwise(
    tmp_path: Path,
    decayed: list[tuple[int, float]],
    action: Callable[[], None],
    priority: str,
    error: type[Exception],
    said: str,
) -> None:
    runner = Runner(decaying(tmp_path))
    runner.register_hook(After(3, action, priority))
    with pytest.raises(error, match=said):
        runner.train()
    assert list_checkpoints(tmp_path)[-1].name == "step_000000004.pth"
    Runner(decaying(tmp_path), resume=True).train()
    assert losses(tmp_path) == decayed


@BACKBONES.register_module()
class TurnsToNan(nn.Module):
    """A linear backbone whose output, or whose gradient, is not a number from a given step on."""

    def __init__(self, step: int, *, where: str = "loss") -> None:
        super().__init__()
        self.linear = nn.Linear(3, 8)
        self.out_dim = 8
        self.step, self.where = step, where
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        features = self.linear(images.mean((2, 3)))
        if (self.calls - 1) // 2 >= self.step:  # two sizes of views, so two calls a step
            features = features * float("nan") if self.where == "loss" else features + 0 * (features * 0).sqrt()
        return features


@pytest.mark.parametrize("where, named", [("loss", r"loss\S* is nan"), ("gradient", r"gradient.*linear")])
def test_what_is_not_finite_stops_the_run_and_is_named(tmp_path: Path, where: str, named: str) -> None:
    config = tiny_config(tmp_path)
    config["model"] = config["model"] | {"backbone": {"type": "TurnsToNan", "step": 4, "where": where}}
    with pytest.raises(NonFiniteError, match=rf"step 5: .*{named}.*; images \w+/\S+#\d, .*last checkpoint is good"):
        Runner(config).train()
    saved = Checkpoint.read(list_checkpoints(tmp_path)[-1])
    assert saved.step == 3 and all(tensor.isfinite().all() for tensor in saved.model.values())


@DATASETS.register_module()
class SomeUnreadable(Noise):
    """Noise images, of which some cannot be decoded."""

    def __init__(self, length: int, bad: tuple[int, ...]) -> None:
        super().__init__(length)
        self.bad = bad

    def image(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise DecodeError(f"{self.name(index)}: cut off")
        return super().image(index)


@DATASETS.register_module()
class BreaksAfter(Noise):
    """Sound until so many images were taken, like a disk that is unmounted."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.left = images

    def image(self, index: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise DecodeError(f"{self.name(index)}: gone")
        return super().image(index)


def unreadable(work_dir: Path, *, length: int, bad: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, **changes)
    config["train_dataloader"]["dataset"] = {"type": "SomeUnreadable", "length": length, "bad": bad}
    return config


def test_one_bad_image_is_named_once_and_stops_nothing(tmp_path: Path) -> None:
    Runner(unreadable(tmp_path, length=16, bad=(5,), steps=6)).train()
    assert len(losses(tmp_path)) == 6
    lines = (tmp_path / "bad_images.txt").read_text().splitlines()
    assert len(lines) == 1 and lines[0].startswith("5\t") and "cut off" in lines[0]


@pytest.mark.parametrize(
    ("dataset", "said", "steps"),
    [
        ({"type": "SomeUnreadable", "length": 32, "bad": (5, 9)}, r"could not be decoded.*; all \d steps", range(1, 9)),
        ({"type": "BreaksAfter", "images": 20}, r"\d+ images in a row cannot be decoded.*; all 2 steps", [2]),
    ],
)
def test_images_that_cannot_be_read_lose_no_step(
    tmp_path: Path, dataset: dict[str, Any], said: str, steps: Sequence[int]
) -> None:
    config = tiny_config(tmp_path, default_hooks=dict.fromkeys(("checkpoint", "pictures", "evaluate", "collapse")))
    config["train_dataloader"]["dataset"] = dataset
    with pytest.raises(DataError, match=said):
        Runner(config).train()
    (saved,) = list_checkpoints(tmp_path)
    assert Checkpoint.read(saved).step == len(losses(tmp_path)) and len(losses(tmp_path)) in steps


def test_a_run_in_which_nothing_can_be_read_names_what_it_tried(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"9 images in a row cannot be decoded"):
        Runner(unreadable(tmp_path, length=16, bad=tuple(range(16)))).train()
    assert len((tmp_path / "bad_images.txt").read_text().splitlines()) == 9


def test_the_config_says_how_long_processes_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[timedelta] = []
    for module in (runner_module, evaluate_module):
        monkeypatch.setattr(module, "init_process_group", lambda *given, timeout, **more: limits.append(timeout))
    runner = trained(tiny_config(tmp_path, steps=1, evaluators={}, dist_timeout=240.0), device="cpu")
    evaluate(runner.recipe, list_checkpoints(tmp_path)[-1], device="cpu")
    assert limits == [timedelta(minutes=240)] * 2


@pytest.mark.parametrize("given, ahead", [({}, 4), ({"prefetch_factor": 1}, 1)])
def test_the_config_says_how_far_ahead_workers_prepare(tmp_path: Path, given: dict[str, Any], ahead: int) -> None:
    config = tiny_config(tmp_path, evaluators={})
    config["train_dataloader"] |= {"num_workers": 1, **given}
    runner = Runner(config, device="cpu")
    runner._build_training()
    assert runner._build_loop(0).dataloader.prefetch_factor == ahead
