"""What a checkpoint holds, read and written in one place; where checkpoints lie and which one a path means."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import CheckpointError
from selfsup.ops.files import reason, remedy, whole_file
from selfsup.weights.one_file import MANIFEST, is_folder
from selfsup.weights.read import read_weights

EXPORTED = ("backbone.safetensors", "backbone.pth")
"""What a run calls the backbone that it writes at its end."""
VERSION = 2
"""Raised when a newer version writes what an older one cannot read."""
NAME = re.compile(r"step_(\d+)(\.pth)?")  # a file, or a folder that many processes write


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after some optimizer updates, or the weights of a whole method; what the file does not say is None."""

    model: Mapping[str, Tensor]  # the method's state dict
    method: str | None = None  # name of its class
    step: int | None = None  # updates done
    optim_wrapper: Any = None  # state of the optimizer's wrapper
    schedules: Any = None  # state of each schedule
    ranks: Any = None  # of each process: random states, and buffers that differ from those of process 0
    run: str | None = None  # identifies the run, over every resume
    recipe: str | None = None  # name of the config
    config: Mapping[str, Any] | None = None  # resolved
    data: Mapping[str, Any] | None = None  # which images there were, and which were held out
    images: int | None = None  # how many were trained on
    seed: int | None = None
    batch: Any = None  # images per process, processes, accumulated steps
    optimizer: str | None = None  # name of its class
    schedulers: Any = None  # names of the schedules' classes
    precision: str | None = None  # of the forward pass
    started_from: Mapping[str, Any] | None = None  # the weights that the run began with, see card.origin
    trained: Sequence[Mapping[str, Any]] = ()  # the same of networks that the method took trained, such as a teacher
    unwritten: Sequence[dict[str, Any]] = ()  # metrics that the disk has not taken yet
    card: Mapping[str, Any] | None = None  # of weights that were converted
    extra: Mapping[str, Any] = field(default_factory=dict)  # what else a run keeps, by name
    version: int = VERSION
    path: Path | None = None  # the file it was read from

    @classmethod
    def of(cls, state: Mapping[str, Any], path: str | Path) -> "Checkpoint | None":
        """The checkpoint in what a file holds; None if it is another kind of file of weights.

        Raises:
            CheckpointError: if a newer version wrote it.
        """
        if "model" not in state:
            return None
        return cls(path=Path(path), **_upgraded(state, path))

    @classmethod
    def read(cls, path: str | Path, *, mapped: bool = False) -> "Checkpoint":
        """Read a file that holds tensors and plain values alone, see :func:`~selfsup.weights.read.read_weights`.

        Raises:
            CheckpointError: if it cannot be read or is no checkpoint.
        """
        state = read_weights(path, mapped=mapped, stand_ins=False)
        if (checkpoint := cls.of(state, path)) is None:
            raise CheckpointError.at(str(path), f"holds no 'model', its keys are {', '.join(map(str, state))}")
        return checkpoint

    def contents(self) -> dict[str, Any]:
        """What a file of it holds."""
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("version", "path")}
        return {"format": self.version, **kept}

    def write(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            CheckpointError: if it cannot be written; whatever stood at ``path`` before is untouched.
        """
        try:
            save(self.contents(), path)
        except (OSError, RuntimeError) as error:
            if not NAME.fullmatch(path.name):
                raise unwritable(path, error) from error
            older = list_checkpoints(path.parent.parent)
            newest = f"the newest complete one is {older[-1]}" if older else "there is no complete one before it"
            what = f"the checkpoint could not be written ({reason(error, path)}); {newest}"
            right = f"{remedy(error)} and run the same command with --resume"
            raise CheckpointError.at(str(path), what, expected=right) from error


def _upgraded(state: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The fields of a checkpoint of any version: 1 was written up to commit 41b416a; others' files have none."""
    version = state.get("format")
    if version is None:
        return {name: state[name] for name in ("model", "step", "config") if name in state}
    if version not in (1, VERSION):
        raise CheckpointError.at(str(path), f"format: must be 1 to {VERSION}, a newer version wrote it", got=version)
    known = {each.name: state[each.name] for each in fields(Checkpoint) if each.name in state}
    if version == VERSION:
        return known
    if "selfsup" in state:
        known["card"] = json.loads(state["selfsup"])
    config = known.get("config") or {}
    if "precision" not in state and "config" in state:  # fp32 was the default then
        known["precision"] = config.get("optim_wrapper", {}).get("precision", "fp32")
    if "started_from" not in state and config.get("load_from"):
        known["started_from"] = {"file": config["load_from"]}
    known["trained"] = [respelled(each) for each in known.get("trained", ())]
    known["started_from"] = known.get("started_from") and respelled(known["started_from"])
    return known


def respelled(described: Mapping[str, Any]) -> dict[str, Any]:
    """What was known of weights when it was spelled "licence"."""
    return {"license" if key == "licence" else key: value for key, value in described.items()}


def save(state: Any, path: Path) -> None:
    """Write what ``torch.save`` can, whole or not at all.

    Raises:
        OSError: if it cannot be written (disk full, no permission).
        RuntimeError: likewise: torch's zip writer reports a full disk so.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.save(state, file)


def unwritable(path: Path, error: Exception) -> CheckpointError:
    """The error for a file of weights that the disk does not take."""
    return CheckpointError.at(str(path), f"could not be written ({reason(error, path)})")


def checkpoint_path(work_dir: str | Path, step: int) -> Path:
    """Where the state after ``step`` optimizer updates is kept."""
    return Path(work_dir) / "checkpoints" / f"step_{step:09d}.pth"


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """The complete checkpoints of a work dir, oldest first."""
    folder = Path(work_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    named = (path for path in folder.iterdir() if NAME.fullmatch(path.name))
    return sorted(path for path in named if path.suffix == ".pth" or is_folder(path))


def forget_old(work_dir: str | Path, max_keep: int) -> None:
    """Remove all but the newest complete checkpoints of a work dir."""
    for path in list_checkpoints(work_dir)[:-max_keep]:
        if path.is_file():
            path.unlink()
        else:
            (path / MANIFEST).unlink()  # one that is half removed is none any more
            shutil.rmtree(path, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """Optimizer updates done when a checkpoint was written."""
    return int(checkpoint.stem.removeprefix("step_"))


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: a file or folder, or the newest one of a work dir.

    Raises:
        CheckpointError: if there is none.
    """
    found = Path(path).expanduser()
    if is_folder(found):
        return found
    if not found.is_dir():
        if not found.is_file():
            raise CheckpointError.at(str(path), "no such checkpoint")
        return found
    if not (checkpoints := list_checkpoints(found)):
        raise CheckpointError.at(str(path), "no checkpoints in this folder; name a file, or the work dir of a run")
    return checkpoints[-1]
