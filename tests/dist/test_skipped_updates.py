"""Two processes leave out an update together where the image of one of them is bad."""

import re
from pathlib import Path
from typing import Any

import pytest

from selfsup.ops.dist import gather_objects
from selfsup.testing.contract import same_values
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.two_processes import run_in_processes
from tests.engine.blank_run import BAD_STEP, blank_config, order_of
from tests.engine.tiny_run import log_of, trained

pytestmark = pytest.mark.dist

RUNS: dict[str, dict[str, Any]] = {
    "loss": {"where": "loss", "method": "moco"},
    "loss of the second micro-batch": {"where": "loss", "accumulate": 2},
    "gradient": {"where": "gradient"},
    "loss of shards": {"where": "loss", "accumulate": 2, "sharding": {"min_parameters": 1, "whole_gradients": True}},
    "gradient of shards": {"where": "gradient", "sharding": {"min_parameters": 1}},
}


def config_of(folder: Path, *, accumulate: int = 1, sharding: Any = None, **arguments: Any) -> dict[str, Any]:
    config = blank_config(folder, accumulate=2 * accumulate, **arguments)  # half the images for each of two
    config["optim_wrapper"]["accumulative_counts"] = accumulate
    if config["model"]["type"] == "MoCo":
        config["model"]["shuffle_bn"] = False  # each process sees its own images alone; SwAV's balance exchanges scores
    return config | {"sharding": sharding}


def everything(folder: Path) -> dict[str, int]:
    blanks = {}
    for name, options in RUNS.items():
        order = order_of(config_of(folder / f"sound {name}", **options))
        blank = gather_objects(order)[1][BAD_STEP - 1][-1][0]  # of process 1
        runner = trained(config_of(folder / name, blank=blank, **options), device="cpu")
        assert runner.optim_wrapper.skipped_updates == 1
        blanks[name] = blank
    return blanks


def test_both_skip_and_nothing_changes(tmp_path: Path) -> None:
    blanks, _ = run_in_processes(everything, tmp_path)
    for name in RUNS:
        states = {saved.step: saved for saved in map(Checkpoint.read, list_checkpoints(tmp_path / name))}
        before, after, later = (states[step] for step in (BAD_STEP - 1, BAD_STEP, BAD_STEP + 1))
        assert same_values(dict(after.model), dict(before.model)), name
        assert same_values(after.optim_wrapper["state"], before.optim_wrapper["state"]), name
        for now, then in zip(after.ranks, before.ranks, strict=True):
            assert same_values(now["buffers"], then["buffers"]), name
        assert not same_values(dict(later.model), dict(after.model)), name
        assert all(tensor.isfinite().all() for tensor in later.model.values()), name
        (log,) = (tmp_path / name).glob("*/rank1.log")
        for number, text in enumerate((log_of(tmp_path / name), log.read_text())):
            (line,) = [line for line in text.splitlines() if "is left out" in line]
            assert f"step {BAD_STEP}: " in line
            assert number == 0 or re.search(rf"images .*\b{blanks[name]}\b.*;", line)
    assert re.search(rf"process 1: step 5: loss is nan; images .*\b{blanks['loss']}\b.*;", log_of(tmp_path / "loss"))
