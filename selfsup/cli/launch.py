"""What the launcher told this process, before any process group exists."""

import os

_WORLD_SIZE = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS"}
_RANK = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}


def launched_processes(launcher: str) -> int:
    """How many processes take part."""
    return int(os.environ.get(_WORLD_SIZE.get(launcher, ""), 1))


def is_first(launcher: str) -> bool:
    """Whether this process is the one that speaks."""
    return int(os.environ.get(_RANK.get(launcher, ""), 0)) == 0
