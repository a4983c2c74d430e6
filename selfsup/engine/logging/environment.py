"""The machine and versions behind a run's numbers."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mmengine
import torch
import torchvision

import selfsup
from selfsup.ops.dist import world_size
from selfsup.ops.files import WORK_DIR_MARKER, write_record


def write_environment(runner: Any) -> None:
    """Write ``environment.json``: versions, machine, command and seed of this start of the run.

    Raises:
        RecordError: if it cannot be written.
    """
    device = runner.device
    environment = {
        "selfsup": selfsup.__version__,
        "commit": commit_of(Path(selfsup.__file__).parents[1]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "mmengine": mmengine.__version__,
        "system": platform.platform(),
        "device": str(device),
        "precision": getattr(runner.optim_wrapper, "precision", None),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "seed": runner.seed,
        "run": runner.run_id,
        "command": sys.argv,
        "found_in_work_dir": sorted(runner.found_before),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_record(Path(runner.work_dir, WORK_DIR_MARKER), json.dumps(environment, indent=2) + "\n")


def commit_of(checkout: Path) -> str | None:
    """The commit that a checkout is at, ``-dirty`` behind it if files differ from it; None where that is not known."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
