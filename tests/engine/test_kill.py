"""A run killed with ``kill -9`` and resumed with ``--resume`` gives bitwise the losses of one left alone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfsup.weights.checkpoint import list_checkpoints
from tests.engine.tiny_run import losses

STEPS = 12
OPTIONS = [
    "train_dataloader.batch_size=8",
    "train_dataloader.num_workers=1",
    f"train_cfg.max_steps={STEPS}",
    "evaluators={}",
    "default_hooks.checkpoint.every_steps=2",
    "optim_wrapper.freeze.prototypes=3",
    "model.queue_length=16",
    "model.queue_start_epoch=0",
]


def command(work_dir: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "selfsup", "train", "swav/swav_scenes", "--work-dir", str(work_dir)]
    return [*program, *more, "--cfg-options", *OPTIONS]


def descendants(pid: int) -> list[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, of in parents.items() if of == parent]
        found += children
        waiting += children
    return found


def is_running(pid: int) -> bool:
    try:
        return "selfsup" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers that are left in /proc")
def test_killed_and_resumed_equals_left_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "whole"), check=True, env=environment, capture_output=True)
    run = subprocess.Popen(
        command(tmp_path / "cut"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(losses(tmp_path / "cut")) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    helpers = descendants(run.pid)
    assert helpers, "the run has a worker"
    run.send_signal(signal.SIGKILL)
    run.wait()
    reached = len(losses(tmp_path / "cut"))
    assert 5 <= reached < STEPS, f"killed too early or too late: {reached} of {STEPS} steps"
    assert list_checkpoints(tmp_path / "cut")
    subprocess.run(command(tmp_path / "cut", "--resume"), check=True, env=environment, capture_output=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == STEPS
    assert not [pid for pid in helpers if is_running(pid)], "workers outlived the run"
