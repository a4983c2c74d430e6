"""Workers that the system ends, or that have no room for their batches: the run stops, saved, with a line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.engine.runner import Runner
from selfsup.errors import DataError
from selfsup.registry import DATASETS
from selfsup.weights.checkpoint import list_checkpoints
from tests.engine.tiny_run import Noise, tiny_config


@DATASETS.register_module()
class EndsItsWorker(Noise):
    """Images, of which one is too much for the system."""

    def image(self, index: int) -> np.ndarray:
        if index == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(index)


def config(work_dir: Path, **loader: Any) -> dict[str, Any]:
    made = tiny_config(work_dir)
    made["train_dataloader"] |= {"num_workers": 1, "prefetch_factor": 1, **loader}
    made["default_hooks"]["checkpoint"] = None
    return made


def test_a_worker_that_is_killed_stops_the_run_with_its_steps_saved(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Runner(config(tmp_path, dataset={"type": "EndsItsWorker"}), device="cpu").train()
    (problem,) = caught.value.problems
    assert "train_dataloader.num_workers: " in problem.message and "SIGKILL" in problem.message
    assert len(list_checkpoints(tmp_path)) == 1


SMALL = """
import json, sys
from selfsup.engine.runner import Runner
from selfsup.errors import DataError
try:
    Runner(json.loads(sys.argv[1]), device="cpu").train()
except DataError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="needs a /dev/shm of its own",
)
def test_a_small_dev_shm_stops_the_run_and_says_what_to_change(tmp_path: Path) -> None:
    made = config(tmp_path, batch_size=16)
    made["train_dataloader"]["views"]["sizes"] = (256, 16)
    script = 'mount -t tmpfs -o size=3m tmpfs /dev/shm && exec "$@"'
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", SMALL, json.dumps(made)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (
        "train_dataloader.num_workers: " in run.stdout and "/dev/shm is too small for them, got '3 MiB'" in run.stdout
    ), run.stderr
