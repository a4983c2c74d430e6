"""Weight files, read without running anybody's code."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.errors import CheckpointError
from selfsup.weights.stand_ins import STAND_INS


def read_checkpoint(path: str | Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint of ours onto the CPU, with PyTorch's allow-list of harmless types.

    Args:
        path: the file.
        mapped: leave tensors in the file until they are looked at, so that processes which take different parts of
            them need no memory for the rest.

    Raises:
        CheckpointError: if the file is missing, truncated, or holds anything but tensors and plain values, or tensors
            without numbers.
    """
    return _read_pickle(Path(path), stand_ins=(), mapped=mapped)


def read_weights(path: str | Path, *, mapped: bool = False) -> dict[str, Any]:
    """Whatever a file of weights holds: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote.

    Of the last, objects that other training programs are known to save are read as empty ones, see
    :mod:`selfsup.weights.stand_ins`.

    Args:
        path: the file.
        mapped: see :func:`read_checkpoint`; safetensors are always read that way.

    Raises:
        CheckpointError: if the file cannot be read, or could run code when read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    return _read_pickle(path, stand_ins=STAND_INS, mapped=mapped)


def read_note(path: str | Path, name: str) -> Any:
    """What a file of weights holds beside the weights, in the place that each kind of file has for it.

    That is the metadata of safetensors; of what ``torch.save`` wrote, a key beside ``model``, or an attribute of a
    plain state dict, which whoever loads it does not meet. Tensors stay in the file.

    Args:
        path: the file.
        name: of the note.

    Returns:
        None if there is none.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            return (file.metadata() or {}).get(name)
    if path.suffix == ".npz" or not zipfile.is_zipfile(path):
        return None
    state = _read_pickle(path, stand_ins=STAND_INS, mapped=True)
    return state.get(name) if "model" in state else getattr(state, name, None)


def _read_pickle(path: Path, *, stand_ins: tuple, mapped: bool) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(stand_ins)):
            warnings.simplefilter("ignore")  # a strange pickle is evaluated by what it holds, below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except (
        RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, pickle.UnpicklingError
    ) as error:  # fmt: skip
        raise _rejection(path, error) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dict of states, got {type(state).__name__}")
    empty = _without_numbers(state)
    if empty:
        raise CheckpointError(
            f"{path}: {len(empty)} tensors have a shape and no numbers, as on PyTorch's meta device: "
            f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}; save the network once it has its weights"
        )
    return state


def _without_numbers(state: Mapping[Any, Any]) -> list[str]:
    """The names of tensors that are on the meta device, however deep."""
    found: list[str] = []
    inside: list[Any] = [state]
    seen: set[int] = set()
    while inside:
        held = inside.pop()
        if id(held) in seen:
            continue
        seen.add(id(held))
        for name, value in held.items() if isinstance(held, Mapping) else enumerate(held):
            if isinstance(value, torch.Tensor):
                found += [str(name)] if value.is_meta else []
            elif isinstance(value, Mapping | list | tuple):
                inside.append(value)
    return found


def _rejection(path: Path, error: Exception) -> CheckpointError:
    if misnamed := _misnamed(path, ".pth"):
        return misnamed
    forbidden = re.search(r"unsupported (?:global|class|operand):?\s+(?:global\s+)?([\w.]+)", str(error), re.IGNORECASE)
    if forbidden and _starts_like_a_pickle(path):
        what = "" if forbidden.group(1).isdigit() else f" ({forbidden.group(1)})"  # a bare number is an opcode
        if forbidden.group(1).startswith(("jax", "haiku", "dill", "byol")):
            return CheckpointError(
                f"{path}: the file is a pickle of JAX objects{what}, which only their own code can read; use a "
                "conversion of it to PyTorch with source='byol'"
            )
        return CheckpointError(
            f"{path}: the file holds more than tensors and plain values{what} and could run code when loaded, so it "
            "was not loaded; ask whoever made it for a safetensors file or a plain state dict, or, if you trust them, "
            "take its state dict out where nothing can be harmed"
        )
    if _is_whole_zip(path):
        return CheckpointError(
            f"{path}: the file is whole, but holds something that cannot be put together ({_reason(error)}); ask "
            "whoever made it for a safetensors file or a plain state dict"
        )
    return CheckpointError(
        f"{path}: the file is truncated or no checkpoint at all, {path.stat().st_size} bytes ({_reason(error)}); use "
        "an older one"
    )


def _reason(error: Exception) -> str:
    """What went wrong, without the advice that torch puts around it."""
    said = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0].strip()
    return f"{type(error).__name__}: {said[:80]}" if said else type(error).__name__


def _misnamed(path: Path, read_as: str) -> CheckpointError | None:
    """The error for a file that is of another kind by its content than it was read as; None if that does not tell."""
    kind = _kind(path)
    if kind in ("", read_as):
        return None
    return CheckpointError(f"{path}: is a {kind} file by its content; rename it to {path.with_suffix(kind).name}")


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return ".safetensors"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return ""
    if any(name.endswith("/data.pkl") for name in names):
        return ".pth"
    return ".npz" if names and all(name.endswith(".npy") for name in names) else ""


def _starts_like_a_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(3)
    return len(start) == 3 and start[:1] in (b"P", b"\x80")  # a zip archive, or a bare pickle


def _is_whole_zip(path: Path) -> bool:
    """Whether the file is a zip archive with all its contents, as ``torch.save`` writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _starts_like_a_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _read_safetensors(path: Path) -> dict[str, Any]:
    with _safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise CheckpointError(f"{path}: reading it needs the package safetensors (pip install selfsup[eval])") from None
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except Exception as error:  # safetensors raises its own type for a damaged header
        unreadable = CheckpointError(f"{path}: not a readable safetensors file ({error})")
        raise _misnamed(path, ".safetensors") or unreadable from None


def _read_npz(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if misnamed := _misnamed(path, ".npz"):
        raise misnamed
    if not _starts_like_a_zip(path):
        raise CheckpointError(f"{path}: not a readable .npz file, {path.stat().st_size} bytes")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name], order="C")) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy each have errors of their own
        if "allow_pickle" in str(error):
            raise CheckpointError(
                f"{path}: the file holds Python objects, which could run code when loaded, so it was not loaded; "
                "save plain arrays with numpy.savez"
            ) from None
        raise CheckpointError(
            f"{path}: not a readable .npz file, {path.stat().st_size} bytes ({type(error).__name__}: {error})"
        ) from None
