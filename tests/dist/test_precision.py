"""All processes of a run compute in one precision, whatever their devices."""

import json
from pathlib import Path

import pytest

from selfsup.ops import precision
from selfsup.ops.dist import is_main
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import tiny_config, trained

pytestmark = pytest.mark.dist


def train(work_dir: Path) -> str:
    """A run whose second process has a device without bf16."""
    own = ("bf16", "fp32") if is_main() else ("fp32",)
    precision.fast_precisions = lambda device: own
    config = tiny_config(work_dir, steps=1)
    config["optim_wrapper"]["precision"] = "auto"
    runner = trained(config, device="cpu")
    return runner.optim_wrapper.precision


def test_they_take_what_all_of_them_compute_fast(tmp_path: Path) -> None:
    assert run_in_processes(train, tmp_path) == ["fp32", "fp32"]
    assert json.loads((tmp_path / "environment.json").read_text())["precision"] == "fp32"
    assert "not all processes have devices that compute bf16" in next(tmp_path.rglob("rank0.log")).read_text()
