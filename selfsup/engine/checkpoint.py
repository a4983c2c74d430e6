"""Checkpoints: written whole or not at all, read without running anybody's code, refused when they do not fit."""

import contextlib
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.engine.shard import class_name, is_sharded, split_state, whole_state
from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.dist import is_main

FORMAT = 1  # raised when a newer version writes what an older one cannot read
_NAME = re.compile(r"step_(\d+)\.pth")


def checkpoint_path(work_dir: str | Path, step: int) -> Path:
    """Where the state after ``step`` optimiser updates is kept."""
    return Path(work_dir) / "checkpoints" / f"step_{step:09d}.pth"


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """The complete checkpoints of a work dir, oldest first."""
    folder = Path(work_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def write_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write ``state`` beside its final place, flush it to the disk and rename it.

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission); the partial file is removed, and whatever
            stood at ``path`` before is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        older = list_checkpoints(path.parent.parent)
        kept = f"the newest complete one is {older[-1]}" if older else "there is no complete one before it"
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({_reason(error, path)}); {kept}; make room on the "
            "disk and run the same command with --resume"
        ) from error


def _reason(error: Exception, path: Path) -> str:
    """What the system says; PyTorch's zip writer hides a full disk behind a line number of its own."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    free = shutil.disk_usage(path.parent).free
    return f"{free / 2**20:.1f} MiB are left on the disk; {str(error).splitlines()[0]}"


def read_checkpoint(path: str | Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, with PyTorch's allow-list of harmless types.

    Args:
        path: the file.
        mapped: leave tensors in the file until they are looked at, so that processes which take different parts of
            them need no memory for the rest.

    Raises:
        CheckpointError: if the file is missing, truncated, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a strange pickle is judged by what it holds, below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        forbidden = re.search(
            r"unsupported (?:global|class|operand):?\s+(?:global\s+)?([\w.]+)", str(error), re.IGNORECASE
        )
        if forbidden and _starts_like_a_pickle(path):
            what = "" if forbidden.group(1).isdigit() else f" ({forbidden.group(1)})"  # a bare number is an opcode
            raise CheckpointError(
                f"{path}: the file holds more than tensors and plain values{what} and could run code "
                "when loaded, so it was not loaded; ask whoever made it for a safetensors file or a plain state dict"
            ) from None
        raise CheckpointError(
            f"{path}: the file is truncated or no checkpoint at all, {path.stat().st_size} bytes "
            f"({type(error).__name__}{': ' + str(error)[:80] if str(error) else ''}); use an older one"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dict of states, got {type(state).__name__}")
    return state


def _starts_like_a_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(3)
    return len(start) == 3 and start[:1] in (b"P", b"\x80")  # a zip archive, or a bare pickle


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy ``weights`` into ``module``; every tensor must find its place.

    Args:
        module: what receives the weights.
        weights: a state dict.
        source: where the weights come from, for the error message.

    Raises:
        CheckpointError: if tensors are missing, left over, or of another shape; nothing is changed then.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys())
    left_over = sorted(weights.keys() - own.keys())
    reshaped = [
        f"{name}: {tuple(weights[name].shape)} where {tuple(own[name].shape)} is needed"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("left over", left_over), ("of another shape", reshaped))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{source}: the weights belong to another model than {class_name(module)}; " + "; ".join(problems)
        )
    module.load_state_dict(split_state(weights, module))


def load_method(path: str | Path, method: Method) -> None:
    """Load the model part of a training checkpoint into ``method``, as ``--init-from`` and testing do.

    A file that holds a backbone alone, such as an exported ``backbone.safetensors``, fills the backbone; the rest of
    the method keeps its random weights, which testing does not look at.

    Raises:
        CheckpointError: if the file cannot be read or does not fit.
    """
    weights = read_weights(path, mapped=is_sharded(method))
    if "model" in weights:
        load_weights(method, weights["model"], source=str(path))
    else:
        load_weights(method.backbone, weights, source=str(path))


def read_weights(path: str | Path, *, mapped: bool = False) -> dict[str, Any]:
    """A training checkpoint, or the state dict of a backbone from ``.safetensors`` or ``.pth``.

    Args:
        path: the file.
        mapped: see :func:`read_checkpoint`; safetensors are always read that way.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return _read_safetensors(Path(path)) if str(path).endswith(".safetensors") else read_checkpoint(path, mapped=mapped)


def load_backbone(path: str | Path, backbone: nn.Module, source: str = "selfsup") -> None:
    """Load pretrained weights into a backbone.

    Args:
        path: a training checkpoint of ours, or an exported ``backbone.safetensors`` or ``backbone.pth``.
        backbone: what receives the weights.
        source: who wrote the file; ``'selfsup'`` is known.

    Raises:
        CheckpointError: if the source is unknown, the file cannot be read, or a tensor has no place.
    """
    if source != "selfsup":
        raise CheckpointError(f"load_backbone: unknown source {source!r}; choose 'selfsup'")
    weights = read_weights(path)
    if "model" in weights:
        prefix = "backbone."
        weights = {name[len(prefix) :]: t for name, t in weights["model"].items() if name.startswith(prefix)}
    load_weights(backbone, weights, source=str(path))


def export_backbone(backbone: nn.Module, work_dir: str | Path) -> Path:
    """Write the backbone's weights alone, as safetensors where that package is installed, else as a state dict.

    The main process writes; where the weights are split over the processes, all must call this.

    Returns:
        The file: ``backbone.safetensors`` or ``backbone.pth``.

    Raises:
        CheckpointError: if it cannot be written.
    """
    weights = whole_state(dict(backbone.state_dict()))
    if is_main():
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        from safetensors.torch import save_file
    except ImportError:
        path = Path(work_dir) / "backbone.pth"
        if is_main():
            write_atomically(weights, path)
        return path
    path = Path(work_dir) / "backbone.safetensors"
    if not is_main():
        return path
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(weights, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # safetensors lets nobody else read it
        os.replace(partial, path)
    except Exception as error:  # safetensors wraps the system's errors in its own type
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the backbone could not be written ({error})") from error
    return path


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(f"{path}: reading it needs the package safetensors (pip install selfsup[eval])") from None
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type for a damaged header
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None
