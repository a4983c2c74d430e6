"""Files of checkpoints and weights: where they lie, written whole or not at all."""

import re
from pathlib import Path

from selfsup.errors import CheckpointError

EXPORTED = ("backbone.safetensors", "backbone.pth")
"""What a run calls the backbone that it writes at its end."""
FORMAT = 1  # raised when a newer version writes what an older one cannot read
NAME = re.compile(r"step_(\d+)\.pth")


def checkpoint_path(work_dir: str | Path, step: int) -> Path:
    """Where the state after ``step`` optimizer updates is kept."""
    return Path(work_dir) / "checkpoints" / f"step_{step:09d}.pth"


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """The complete checkpoints of a work dir, oldest first."""
    folder = Path(work_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def step_of(checkpoint: Path) -> int:
    """Optimizer updates done when a checkpoint was written."""
    return int(checkpoint.stem.removeprefix("step_"))


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: a file, or the newest one of a work dir.

    Raises:
        CheckpointError: if there is none.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        newest = list_checkpoints(found)[-1:]
        if not newest:
            raise CheckpointError(f"{path}: no checkpoints in this folder; name a file, or the work dir of a run")
        return newest[0]
    if not found.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    return found
