"""Ctrl-C during one long call of PyTorch's, and a terminal that is closed."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.weights.checkpoint import list_checkpoints
from tests.engine.tiny_run import log_of, tiny_config

LONG_CALL = """
import torch
from selfsup.engine import interrupt
interrupt.GRACE = 0.1
with interrupt.InterruptWatch() as watch:
    watch.begin_step()
    watch._began -= 3600
    watch.begin_step()
    matrix = torch.randn(8000, 8000)
    print("ready", flush=True)
    torch.linalg.svd(matrix)
"""


def test_ctrl_c_in_a_long_call_says_how_long_it_takes_and_a_second_one_stops_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", LONG_CALL], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGINT)
        run.stdout.readline()
        assert re.search(r" in about 3[56]\d\d s", run.stdout.readline())
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=5) == 130


TRAINING = """
import fcntl, json, sys, termios
from selfsup.engine.interrupt import Interrupted
from selfsup.engine.runner import Runner
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
try:
    Runner(json.loads(sys.argv[1]), device="cpu").train()
except Interrupted as stopped:
    print(stopped)
    sys.exit(stopped.exit_code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="closes a terminal as Linux does")
def test_a_closed_terminal_saves_the_state(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=10_000)
    config["train_dataloader"]["num_workers"] = 1
    config["default_hooks"]["checkpoint"] = None
    terminal, inside = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", TRAINING, json.dumps(config)],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    shown = b""
    while b"loss" not in shown:
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert run.wait(timeout=30) == 128 + signal.SIGHUP
    assert len(list_checkpoints(tmp_path)) == 1
    assert "stopped by SIGHUP" in log_of(tmp_path)
