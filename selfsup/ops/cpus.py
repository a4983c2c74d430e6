"""How many processors this process may use, and how it shares them out."""

import math
import os
import socket
from pathlib import Path

import torch

from selfsup.ops.dist import gather_objects

QUOTA = Path("/sys/fs/cgroup/cpu.max")
MOST_WORKERS = 8  # more than enough for one GPU: each decodes and augments hundreds of photographs a second


def available_cpus() -> int:
    """Processors that this process may use: its affinity, as Slurm sets it, and its quota, as containers have one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return allowed


def own_cpus() -> int:
    """The share of this process, where several of a run have the same processors; all of them call it together."""
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    places = gather_objects((socket.gethostname(), affinity))
    return max(1, available_cpus() // places.count((socket.gethostname(), affinity)))


def number_of_workers(wanted: int | None, cpus: int, device: torch.device) -> int:
    """Processes that decode and augment beside a training process.

    Args:
        wanted: what the user has chosen, of which no more are taken than there are processors; None for a number that
            fits: beside a GPU as many as there are processors to spare, beside a network on the CPU an eighth, at
            least one, for decoding takes a small part of the arithmetic.
        cpus: what the training process has, see :func:`own_cpus`.
        device: where it trains.
    """
    if wanted is not None:
        return min(wanted, cpus)
    return min(MOST_WORKERS, max(1, cpus - 1 if device.type != "cpu" else cpus // 8))


def limit_threads(cpus: int) -> None:
    """Compute with no more threads than processors, as PyTorch would in a container and beside other processes."""
    if torch.get_num_threads() > cpus:
        torch.set_num_threads(cpus)
