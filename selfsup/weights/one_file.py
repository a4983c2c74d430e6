"""One file of weights, read without running anybody's code.

PyTorch's safe loader rejects every name outside its list. Training scripts also save numbers of NumPy, options and
config dicts. None of it is needed here, so each such name is answered with an object of ours that forgets what it is
given: nothing of the named packages is called, or even imported. A name that is not listed here is still rejected.
"""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.errors import CheckpointError

MANIFEST = "manifest.json"
"""The file that makes a folder a checkpoint, see :mod:`selfsup.weights.sharded`."""


class Inert:
    """Stands where a file has an object of another program; forgets what it is made from and given."""

    def __new__(cls, *_ignored: Any) -> "Inert":  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_ignored: Any) -> None:
        pass

    def __setstate__(self, _ignored: Any) -> None:
        pass


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


def read_file(path: Path, *, mapped: bool = False, stand_ins: bool = True) -> dict[str, Any]:
    """What :func:`~selfsup.weights.read.read_weights` gives of a path that is no folder."""
    if not path.is_file():
        raise CheckpointError.at(str(path), "no such file")
    kind = kind_of(path)
    if kind == ".safetensors":
        with _safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    return _read_npz(path) if kind == ".npz" else _read_pickle(path, mapped=mapped, stand_ins=stand_ins)


def is_folder(path: Path) -> bool:
    """Whether a path is the folder of a checkpoint that many processes wrote."""
    return (path / MANIFEST).is_file()


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside the weights.

    Raises:
        CheckpointError: if it cannot be read.
    """
    with _safetensors(path) as file:
        return file.metadata() or {}


def kind_of(path: Path) -> str:
    """``.safetensors``, ``.npz`` or ``.pth``: what a file is by its content, or by its name if it is too damaged."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return ".safetensors"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return path.suffix
    return ".npz" if names and all(name.endswith(".npy") for name in names) else ".pth"


def _read_pickle(path: Path, *, mapped: bool, stand_ins: bool) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS if stand_ins else ())):
            warnings.simplefilter("ignore")  # a strange pickle is evaluated by what it holds, below
            with path.open("rb") as file:  # by a name in .safetensors torch would not read a pickle
                mapped = mapped and zipfile.is_zipfile(file) and path.suffix != ".safetensors"
                file.seek(0)
                given = path if mapped else file
                state = torch.load(given, map_location="cpu", weights_only=True, mmap=mapped)
    except (
        RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, pickle.UnpicklingError
    ) as error:  # fmt: skip
        raise _unreadable(path, error) from None
    if not isinstance(state, dict):
        raise CheckpointError.at(str(path), "must be a dict of states", got=type(state))
    return state


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    """Why a pickle was not read, and what helps, without the advice that torch puts around it."""
    forbidden = re.search(r"unsupported (?:global|class|operand):?\s+(?:global\s+)?([\w.]+)", str(error), re.IGNORECASE)
    with path.open("rb") as file:
        start = file.read(3)
    if forbidden and len(start) == 3 and start[:1] in (b"P", b"\x80"):  # a zip archive, or a bare pickle
        what = "" if forbidden[1].isdigit() else f" ({forbidden[1]})"  # a bare number is an opcode
        return CheckpointError.at(
            str(path),
            f"the file holds more than tensors and plain values{what} and could run code when loaded",
            expected="ask whoever made it for a safetensors file or a plain state dict",
        )
    said = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0].strip()
    reason = f"{type(error).__name__}{': ' * bool(said)}{said[:80]}"
    what = f"the file is truncated or no checkpoint at all, {path.stat().st_size} bytes ({reason})"
    return CheckpointError.at(str(path), what, expected="use an older one")


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise CheckpointError.at(str(path), "needs the package safetensors (pip install selfsup[eval])") from None
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except Exception as error:  # safetensors raises its own type for a damaged header
        raise CheckpointError.at(str(path), f"not a readable safetensors file ({error})") from None


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name], order="C")) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy each have errors of their own; of Python objects too
        what = f"not a readable .npz file of plain arrays, {path.stat().st_size} bytes"
        raise CheckpointError.at(str(path), f"{what} ({type(error).__name__}: {error})") from None
