"""The machine and versions behind a run's numbers."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import mmengine
import torch
import torchvision

import selfsup
from selfsup.ops.dist import world_size
from selfsup.ops.files import WORK_DIR_MARKER, write_record


def write_environment(
    work_dir: str | Path,
    *,
    device: torch.device,
    precision: str | None,
    seed: int,
    run: str,
    found: Collection[str] = (),
) -> None:
    """Write ``environment.json``: versions, machine, command and seed of this start of the run.

    Args:
        work_dir: the folder of the run.
        device: where it trains.
        precision: that of the forward pass; None if what gives the optimizer its gradients has none.
        seed: of everything random.
        run: what tells the run from all others, over every resume.
        found: names of what was in the folder before its first run, see :func:`~selfsup.engine.work_dir.found_before`.

    Raises:
        RecordError: if it cannot be written.
    """
    environment = {
        "selfsup": selfsup.__version__,
        "commit": commit_of(Path(selfsup.__file__).parents[1]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "mmengine": mmengine.__version__,
        "system": platform.platform(),
        "device": str(device),
        "precision": precision,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "seed": seed,
        "run": run,
        "command": sys.argv,
        "found_in_work_dir": sorted(found),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_record(Path(work_dir, WORK_DIR_MARKER), json.dumps(environment, indent=2) + "\n")


def commit_of(checkout: Path) -> str | None:
    """The commit that a checkout is at, ``-dirty`` behind it if files differ from it; None where that is not known."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
