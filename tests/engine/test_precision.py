"""``precision='auto'``: chosen once, said, recorded, and kept by whoever goes on with the run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.runner import Runner
from selfsup.ops import precision
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.tiny_run import tiny_config, trained


def with_bf16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    """A processor with or without units for bf16."""
    monkeypatch.setattr(precision, "fast_precisions", lambda device: ("bf16", "fp32") if has else ("fp32",))
    monkeypatch.setattr("selfsup.engine.build.fast_precisions", precision.fast_precisions)


def run(work_dir: Path, asked: str | None, *, steps: int = 1, resume: bool = False) -> tuple[Runner, list[str]]:
    """A run that has ended, and its lines about precision."""
    config = tiny_config(work_dir, steps=steps, param_scheduler=None)
    del config["optim_wrapper"]["precision"]
    config["optim_wrapper"] |= {} if asked is None else {"precision": asked}
    runner = trained(config, resume=resume, device="cpu")
    log = Path(runner.log_dir, "rank0.log").read_text()
    return runner, re.findall(r"\w+ precision .*|optim_wrapper\.precision '.*' -> '\w+'", log)


def recorded(work_dir: Path) -> tuple[Any, Any]:
    environment = json.loads((work_dir / "environment.json").read_text())
    return environment["precision"], Checkpoint.read(list_checkpoints(work_dir)[-1]).precision


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_it_is_what_the_device_computes_fast_and_is_said_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: bool, chosen: str
) -> None:
    with_bf16(monkeypatch, has)
    runner, said = run(tmp_path, None)
    why = "this processor computes it in hardware" if has else "this processor does not compute bf16 in hardware"
    assert said == [f"INFO precision {chosen}: {why}"]
    assert recorded(tmp_path) == (chosen, chosen)
    with runner.optim_wrapper.optim_context(runner.method):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if has else torch.float32)


def test_a_resumed_run_keeps_what_it_began_with_until_the_config_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bf16(monkeypatch, True)
    run(tmp_path, "auto")
    _, said = run(tmp_path, "auto", steps=2, resume=True)
    assert said == ["INFO precision bf16: the run began with it"]
    with_bf16(monkeypatch, False)
    _, (said,) = run(tmp_path, "auto", steps=3, resume=True)
    assert said.startswith("WARNING precision bf16: the run began with it, and it is slow here")
    assert recorded(tmp_path) == ("bf16", "bf16")
    _, said = run(tmp_path, "bf16", steps=4, resume=True)
    assert said == []
    _, (said,) = run(tmp_path, "fp32", steps=5, resume=True)
    assert said == "optim_wrapper.precision 'bf16' -> 'fp32'"
    assert recorded(tmp_path) == ("fp32", "fp32")


def test_a_checkpoint_from_before_is_resumed_in_what_its_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "fp32")
    with_bf16(monkeypatch, True)
    path = list_checkpoints(tmp_path)[-1]
    state = torch.load(path, weights_only=True)
    del state["precision"]
    torch.save(state | {"format": 1}, path)
    _, said = run(tmp_path, "auto", steps=2, resume=True)
    assert said == ["INFO precision fp32: the run began with it"]
    assert recorded(tmp_path) == ("fp32", "fp32")


def test_a_stated_precision_asks_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fast_precisions", None)
    for stated in ("fp32", "bf16", "fp16"):
        runner, said = run(tmp_path / stated, stated)
        assert said == []
        assert runner.optim_wrapper.precision == stated
        assert runner.optim_wrapper.scaler.is_enabled() == (stated == "fp16")
