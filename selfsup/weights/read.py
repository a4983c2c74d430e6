"""Files of weights, read without running anybody's code.

PyTorch's safe loader rejects every name outside its list. Training scripts also save numbers of NumPy, options and
config dicts. None of it is needed here, so each such name is answered with an object of ours that forgets what it is
given: nothing of the named packages is called, or even imported. A name that is not listed here is still rejected.
"""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.errors import CheckpointError


class Inert:
    """Stands where a file has an object of another program."""

    def __new__(cls, *_ignored: Any) -> "Inert":
        """Whatever it was made from."""
        return super().__new__(cls)

    def __init__(self, *_ignored: Any) -> None:
        pass

    def __setstate__(self, _ignored: Any) -> None:
        """Whatever it held."""


def _empty_mapping(*_ignored: Any) -> OrderedDict[Any, Any]:
    """Stands where a file calls something to make a dict, which it then fills."""
    return OrderedDict()


_OBJECTS = (
    *(f"{core}.multiarray.{name}" for core in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "argparse.Namespace", "types.SimpleNamespace", "pathlib.PosixPath"),
    *("builtins.dict", "builtins.list", "builtins.int", "builtins.float"),
)
_MAPPINGS = (  # the loader fills only exact dicts and OrderedDicts
    "vissl.config.attr_dict.AttrDict",
    "vissl.utils.hydra_config.AttrDict",
    "easydict.EasyDict",
    "yacs.config.CfgNode",
)
STAND_INS: tuple[tuple[Callable[..., Any], str], ...] = (
    *((Inert, name) for name in _OBJECTS),
    *((OrderedDict, name) for name in _MAPPINGS),
    (_empty_mapping, "collections.defaultdict"),
)
"""For ``torch.serialization.safe_globals``."""


def read_weights(path: str | Path, *, mapped: bool = False, stand_ins: bool = True) -> dict[str, Any]:
    """Whatever a file of weights holds, on the CPU: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote.

    Args:
        path: the file.
        mapped: leave tensors in the file until they are looked at, so that processes which take different parts of
            them need no memory for the rest; safetensors are always read that way.
        stand_ins: whether objects that other training programs are known to save are read as empty ones; otherwise
            they are rejected like any other.

    Raises:
        CheckpointError: if the file is missing, truncated, of another kind than its name says, could run code when
            read, or holds tensors without numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    kind = _kind(path)
    read_as = path.suffix if path.suffix in (".safetensors", ".npz") else ".pth"
    if kind not in ("", read_as):
        raise CheckpointError(f"{path}: is a {kind} file by its content; rename it to {path.with_suffix(kind).name}")
    if read_as == ".safetensors":
        with _safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    return _read_npz(path) if read_as == ".npz" else _read_pickle(path, mapped=mapped, stand_ins=stand_ins)


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside the weights.

    Raises:
        CheckpointError: if it cannot be read.
    """
    with _safetensors(path) as file:
        return file.metadata() or {}


def _kind(path: Path) -> str:
    """The suffix that a file should have by its content; empty if that does not show it."""
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


def _read_pickle(path: Path, *, mapped: bool, stand_ins: bool) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS if stand_ins else ())):
            warnings.simplefilter("ignore")  # a strange pickle is evaluated by what it holds, below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except (
        RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, pickle.UnpicklingError
    ) as error:  # fmt: skip
        raise CheckpointError(f"{path}: {_unreadable(path, error)}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dict of states, got {type(state).__name__}")
    if empty := next(_without_numbers(state, set()), None):
        raise CheckpointError(
            f"{path}: {empty} has a shape and no numbers, as on PyTorch's meta device; save the network once it has "
            "its weights"
        )
    return state


def _without_numbers(held: Any, seen: set[int]) -> Iterator[str]:
    """The names of tensors that are on the meta device, however deep."""
    if id(held) in seen:
        return
    seen.add(id(held))
    for name, value in held.items() if isinstance(held, Mapping) else enumerate(held):
        if isinstance(value, torch.Tensor) and value.is_meta:
            yield str(name)
        elif isinstance(value, Mapping | list | tuple):
            yield from _without_numbers(value, seen)


def _unreadable(path: Path, error: Exception) -> str:
    """Why a pickle was not read, and what helps, without the advice that torch puts around it."""
    said = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0].strip()
    reason = f"{type(error).__name__}: {said[:80]}" if said else type(error).__name__
    forbidden = re.search(r"unsupported (?:global|class|operand):?\s+(?:global\s+)?([\w.]+)", str(error), re.IGNORECASE)
    with path.open("rb") as file:
        start = file.read(3)
    if forbidden and len(start) == 3 and start[:1] in (b"P", b"\x80"):  # a zip archive, or a bare pickle
        what = "" if forbidden.group(1).isdigit() else f" ({forbidden.group(1)})"  # a bare number is an opcode
        if forbidden.group(1).startswith(("jax", "haiku", "dill", "byol")):
            return (
                f"the file is a pickle of JAX objects{what}, which only their own code can read; use a conversion of "
                "it to PyTorch with source='byol'"
            )
        return (
            f"the file holds more than tensors and plain values{what} and could run code when loaded, so it was not "
            "loaded; ask whoever made it for a safetensors file or a plain state dict, or, if you trust them, take its "
            "state dict out where nothing can be harmed"
        )
    if is_complete(path):
        return (
            f"the file is whole, but holds something that cannot be put together ({reason}); ask whoever made it for a "
            "safetensors file or a plain state dict"
        )
    return f"the file is truncated or no checkpoint at all, {path.stat().st_size} bytes ({reason}); use an older one"


def is_complete(path: Path) -> bool:
    """Whether a file is a zip archive with all its contents, as ``torch.save`` writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise CheckpointError(f"{path}: reading it needs the package safetensors (pip install selfsup[eval])") from None
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except Exception as error:  # safetensors raises its own type for a damaged header
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name], order="C")) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy each have errors of their own
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path}: the file holds Python objects, which could run code when loaded, so it was not loaded; "
                "save plain arrays with numpy.savez"
            ) from None
        raise CheckpointError(
            f"{path}: not a readable .npz file, {path.stat().st_size} bytes ({type(error).__name__}: {error})"
        ) from None
