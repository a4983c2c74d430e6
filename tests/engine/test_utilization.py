"""The share of a device's peak, and the numbers' way to trackers."""

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.logging.utilization import measured_peak
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.ops.cost import multiply_adds
from selfsup.registry import BACKBONES, HOOKS
from tests.engine.tiny_run import BACKBONE, log_of, losses, moco_config, tiny_config


def with_peak(config: dict[str, Any], peak: Any) -> dict[str, Any]:
    config["default_hooks"]["progress"] = {"peak": peak}
    return config


def operations(sizes: dict[int, float]) -> float:
    backbone = BACKBONES.build(BACKBONE)
    return sum(2 * multiply_adds(backbone, size) * passes for size, passes in sizes.items())


@pytest.mark.parametrize(
    ("make", "passes"),
    [
        (tiny_config, {32: 2 * 3, 16: 1 * 3}),  # two large views and a small one, forward and backward
        (moco_config, {32: 3 + 1}),  # the key has a forward pass alone
    ],
)
def test_mfu_is_the_work_of_all_views_over_time_and_peak(tmp_path: Path, make: Any, passes: dict[int, float]) -> None:
    Runner(with_peak(make(tmp_path, steps=3), 1e9), device="cpu").train()
    rates = losses(tmp_path, "images_per_second")
    for (step, mfu), (_, rate) in zip(losses(tmp_path, "mfu"), rates, strict=True):
        assert mfu == pytest.approx(operations(passes) * rate / 1e9, rel=1e-6), step
    assert "mfu is the share of 0.001 TFLOP/s, as configured" in log_of(tmp_path)


def test_of_a_device_whose_peak_is_not_known_there_is_no_mfu(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path, steps=1), device="cpu").train()
    assert losses(tmp_path, "mfu") == [] and "mfu" not in log_of(tmp_path)


def test_a_measured_peak_is_what_a_matrix_product_comes_to() -> None:
    assert measured_peak(torch.device("cpu"), "fp32") > 1e9


@pytest.mark.parametrize("peak", [0, -1.0, "fast"])
def test_a_peak_is_a_positive_number(peak: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        HOOKS.build({"type": "ProgressHook", "peak": peak})
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("peak", peak)


class Service(types.ModuleType):
    """Stands for the package of Weights & Biases; the backend around it is MMEngine's own."""

    def __init__(self, *, works: int = 100) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.started: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.works = works
        self.config = types.SimpleNamespace(update=lambda config, **_: vars(self).update(given=config))
        self.run = types.SimpleNamespace(log_code=lambda **_: None)

    def init(self, **how: Any) -> None:
        self.started = how

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        if len(self.lines) >= self.works:
            raise ConnectionError("no network")
        self.lines.append((values.get("step", step), values))

    def join(self) -> None:
        pass


@pytest.mark.parametrize("works", [100, 2])
def test_a_tracker_gets_every_number_and_its_failure_stops_the_copy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: int
) -> None:
    service = Service(works=works)
    monkeypatch.setitem(sys.modules, "wandb", service)
    tracker = {"type": "TrackersHook", "wandb": {"init_kwargs": {"project": "seer"}}}
    runner = Runner(tiny_config(tmp_path, steps=4, custom_hooks=[tracker]), device="cpu")
    runner.train()
    assert service.started["project"] == "seer" and service.started["id"] == runner.run_id
    assert len(losses(tmp_path)) == 4
    assert [values["loss"] for _, values in service.lines] == [loss for _, loss in losses(tmp_path)][:works]
    assert ("no network" in log_of(tmp_path)) == (works < 4)


@pytest.mark.parametrize(
    ("given", "path"),
    [({}, ""), ({"wandb": {"project": "seer"}}, "wandb.project"), ({"aim": {}}, "aim")],
)
def test_what_no_tracker_takes_is_rejected(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], path: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        HOOKS.build({"type": "TrackersHook", **given})
    assert raised.value.problems[0].path == path
