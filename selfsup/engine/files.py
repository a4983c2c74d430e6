"""Files of checkpoints and weights: where they lie, written whole or not at all."""

import contextlib
import importlib.util
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.engine.card_file import CARD_NOTE, card_path
from selfsup.engine.disk import reason, remedy, settle, write_whole
from selfsup.engine.shard import whole_state
from selfsup.engine.work_dir import EARLIER, RESULTS, unused_name
from selfsup.errors import CheckpointError
from selfsup.ops.dist import is_main

EXPORTED = ("backbone.safetensors", "backbone.pth")
"""What a run calls the backbone that it writes at its end."""
FORMAT = 1  # raised when a newer version writes what an older one cannot read
_NAME = re.compile(r"step_(\d+)\.pth")
_HALF_A_PICTURE = re.compile(r"\..+\.png\.partial")


def checkpoint_path(work_dir: str | Path, step: int) -> Path:
    """Where the state after ``step`` optimiser updates is kept."""
    return Path(work_dir) / "checkpoints" / f"step_{step:09d}.pth"


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """The complete checkpoints of a work dir, oldest first."""
    folder = Path(work_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def step_of(checkpoint: Path) -> int:
    """Optimiser updates done when a checkpoint was written."""
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


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` beside its final place, flush it to the disk and rename it.

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission); the partial file is removed, and whatever
            stood at ``path`` before is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save(state, file)
        settle(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if not _NAME.fullmatch(path.name):
            raise CheckpointError(f"{path}: could not be written ({reason(error, path)})") from error
        older = list_checkpoints(path.parent.parent)
        kept = f"the newest complete one is {older[-1]}" if older else "there is no complete one before it"
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({reason(error, path)}); {kept}; "
            f"{remedy(error)} and run the same command with --resume"
        ) from error


def sweep(work_dir: str | Path) -> None:
    """Remove what a run that was killed while it wrote has left half written; what others call so stays."""
    root = Path(work_dir)
    ours = {f"{name}.partial" for name in RESULTS}
    for partial in root.glob("*.partial"):
        if partial.name in ours or _HALF_A_PICTURE.fullmatch(partial.name):
            partial.unlink(missing_ok=True)
    for partial in (root / "checkpoints").glob("*.partial"):
        if _NAME.fullmatch(partial.name.removesuffix(".partial")):
            partial.unlink(missing_ok=True)


def export_backbone(backbone: nn.Module, work_dir: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the backbone's weights alone, as safetensors where that package is installed, else as a state dict.

    What an earlier end of the run has left in the other of the two forms is put aside: it has lost its card.

    The main process writes; where the weights are split over the processes, all must call this.

    Args:
        backbone: whose weights.
        work_dir: the folder to write into.
        card: what the weights belong to, written beside them, see :mod:`selfsup.engine.card`.

    Returns:
        The file: ``backbone.safetensors`` or ``backbone.pth``.

    Raises:
        CheckpointError: if it cannot be written.
    """
    chosen, other = EXPORTED if importlib.util.find_spec("safetensors") is not None else reversed(EXPORTED)
    path = Path(work_dir, chosen)
    weights = whole_state(dict(backbone.state_dict()))
    if is_main():
        write_weights(weights, path, card)
        _put_aside(Path(work_dir, other))
    return path


def _put_aside(file: Path) -> None:
    """Move a file out of the way, as the results of an earlier run are."""
    if not file.is_file():
        return
    folder = file.parent / EARLIER
    try:
        aside = folder / unused_name(folder)
        aside.mkdir(parents=True)
        file.rename(aside / file.name)
    except OSError as error:
        raise CheckpointError(f"{file}: is out of date and cannot be put into {folder} ({error.strerror})") from error


def write_weights(weights: Mapping[str, Tensor], path: Path, card: Mapping[str, Any] | None = None) -> None:
    """Write a state dict and its card, as safetensors if ``path`` ends so, else as ``torch.save`` does.

    The card goes beside the weights as ``.json``, and into the file too, see
    :func:`~selfsup.engine.reading.read_note`: files are copied without what is beside them.

    Raises:
        CheckpointError: if they cannot be written.
    """
    plain = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in weights.items())
    notes = {} if card is None else {CARD_NOTE: json.dumps(card)}
    if path.suffix == ".safetensors":
        _write_safetensors(plain, path, notes)
    else:
        vars(plain).update(notes)
        write_atomically(plain, path)
    if card is not None:
        write_card(card, path)


def write_card(card: Mapping[str, Any], path: Path) -> None:
    """Write a card beside the weights at ``path``, whole or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    beside = card_path(path)
    try:
        write_whole(beside, json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{beside}: could not be written ({reason(error, beside)})") from error


def _write_safetensors(weights: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise CheckpointError(f"{path}: writing it needs the package safetensors (pip install selfsup[eval])") from None
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, partial, metadata={"format": "pt", **metadata})
        partial.chmod(0o644)  # safetensors lets nobody else read it
        settle(partial, path)
    except Exception as error:  # safetensors wraps the system's errors in its own type
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the weights could not be written ({error})") from error
