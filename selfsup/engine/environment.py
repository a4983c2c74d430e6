"""Where a run takes place: the machine and versions behind its numbers, and a folder of its own to write to."""

import json
import os
import platform
import sys
import time
from pathlib import Path

import mmengine
import torch
import torchvision

import selfsup
from selfsup.errors import ConfigError
from selfsup.ops.dist import barrier, is_main, world_size

RESULTS = (
    "checkpoints",
    "metrics.jsonl",
    "bad_images.txt",
    "tensorboard",
    "backbone.safetensors",
    "backbone.pth",
    "backbone.json",
)


def write_environment(work_dir: str | Path, *, device: torch.device, seed: int) -> None:
    """Write ``environment.json``: versions, machine, command and seed of this start of the run."""
    environment = {
        "selfsup": selfsup.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "mmengine": mmengine.__version__,
        "system": platform.platform(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "seed": seed,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    Path(work_dir, "environment.json").write_text(json.dumps(environment, indent=2) + "\n")


def check_writable(work_dir: Path) -> None:
    """Make the work dir, and refuse one that cannot be written to before anything is built.

    Raises:
        ConfigError: if it cannot be made or written to.
    """
    probe = work_dir / f".writable_{os.getpid()}"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"work_dir: cannot write to {work_dir} ({error.strerror}); choose another folder with --work-dir"
        ) from None


def put_aside(work_dir: str | Path) -> Path | None:
    """Move what an earlier run left in a work dir out of the way of a new one; nothing is deleted.

    Returns:
        The folder it was moved into, on the main process; None if there was nothing, and on the others.
    """
    aside: Path | None = None
    results = [path for name in RESULTS if (path := Path(work_dir, name)).exists()]
    if is_main() and results:
        aside = Path(work_dir, "earlier", time.strftime("%Y%m%d_%H%M%S"))
        aside.mkdir(parents=True, exist_ok=True)
        for path in results:
            path.rename(aside / path.name)
    barrier()
    return aside
