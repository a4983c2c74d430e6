"""A checkpoint as a folder that many processes write and read together, each its own part.

Tensors are written and read by ``torch.distributed.checkpoint``, whatever they are split over. Beside its files lie
``rest.pth``, everything of the checkpoint that is no tensor; ``rank_N.pth``, what process N had of its own; the
backbone with its card; and ``manifest.json``, which is written last and has size and SHA-256 of every other file. A
folder without it is no checkpoint.
"""

import json
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from selfsup.errors import CheckpointError
from selfsup.ops.files import write_whole
from selfsup.ops.parts import is_split
from selfsup.weights.digest import digest_of
from selfsup.weights.one_file import MANIFEST, Inert, read_file

REST = "rest.pth"
STATE = "state"  # of an optimizer, by the number of the parameter
_NAMES = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata", "MetadataIndex",
        "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "torch.storage": set[str](),
    "collections": {"OrderedDict"},
}  # fmt: skip
"""What the table of contents that PyTorch pickles is made of; anything else in it is not looked up."""


def rank_file(rank: int) -> str:
    """Name of the file of what one process had of its own."""
    return f"rank_{rank:05d}.pth"


def own_files(folder: Path, rank: int) -> list[Path]:
    """What one process has written of a folder."""
    return [*sorted(folder.glob(f"__{rank}_*.distcp")), folder / rank_file(rank)]


def flattened(model: Mapping[str, Any], optimizer: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a method and of its optimizer by one name each, and what else there is.

    Returns:
        Tensors as they are, and the same two states with a mark in place of each, see :class:`StoredState`.
    """
    tensors: dict[str, Tensor] = {}

    def taken(prefix: str, state: Mapping[Any, Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value.detach()
                found[name] = (True, _is_channels_last(value))
            else:
                found[name] = (False, value)
        return found

    kept = {name: value for name, value in optimizer.items() if name != STATE}
    state = {number: taken(f"optim.{number}.", values) for number, values in optimizer[STATE].items()}
    return tensors, {"model": taken("model.", model), "optim_wrapper": {**kept, STATE: state}}


def _is_channels_last(tensor: Tensor) -> bool:
    if is_split(tensor) or tensor.dim() != 4:
        return False
    like = torch.empty(tensor.shape, device="meta", memory_format=torch.channels_last)
    return tensor.stride() == like.stride()  # of 1x1 convolutions too, which are contiguous either way


class StoredState(Mapping[Any, Any]):
    """A state dict whose tensors stay in the folder until they are asked for.

    Args:
        store: the folder.
        prefix: of the tensors' names there.
        marks: by name, (True, whether it was laid out channels last) for a tensor, (False, value) for anything else.
    """

    def __init__(self, store: "Store", prefix: str, marks: Mapping[Any, Any]) -> None:
        self._store, self._prefix, self._marks = store, prefix, marks

    def __getitem__(self, name: Any) -> Any:
        return self.parts_like({}, [name])[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._marks)

    def __len__(self) -> int:
        return len(self._marks)

    def parts_like(self, own: Mapping[Any, Tensor], names: Iterable[Any] | None = None) -> dict[Any, Any]:
        """The values; a tensor is split as the one of its name and shape in ``own`` is, and only the own rows are read.

        Args:
            own: tensors, by name.
            names: of what is read; None for everything.
        """
        found: dict[Any, Any] = {}
        for name in self._marks if names is None else names:
            is_tensor, value = self._marks[name]
            found[name] = self._store.empty(self._prefix + str(name), own.get(name), value) if is_tensor else value
        tensors = {self._prefix + str(name): found[name] for name in found if self._marks[name][0]}
        if tensors:
            self._store.fill(tensors)
        return found


class RankStates(Sequence[Any]):
    """What each process had of its own, read when it is asked for."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rank: Any) -> Any:
        if not 0 <= rank < self._count:
            raise IndexError(rank)
        return read_file(self._folder / rank_file(rank))


class Store(FileSystemReader):
    """Reads tensors by name, without executing what a file says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder
        self._metadata: Metadata | None = None

    def read_metadata(self, *_args: Any, **_how: Any) -> Metadata:
        """The table of contents; read once."""
        if self._metadata is None:
            self._metadata = _table_of_contents(self._folder / ".metadata")
        return self._metadata

    def empty(self, name: str, like: Tensor | None, channels_last: bool) -> Tensor:
        """Room for a tensor, or for the own rows of it."""
        described = self.read_metadata().state_dict_metadata.get(name)
        if not isinstance(described, TensorStorageMetadata):
            raise CheckpointError.at(str(self._folder), f"has no tensor called {name}")
        kind = described.properties.dtype
        if like is not None and is_split(like) and like.shape == described.size:
            return torch.empty_like(like, dtype=kind, device=like.device).detach()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return torch.empty(described.size, dtype=kind, memory_format=layout)

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Read tensors into the room for them; processes need not do so together.

        Raises:
            CheckpointError: if they cannot be read.
        """
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")
                dcp.load(tensors, storage_reader=self, no_dist=True)
        except (Exception, dcp.CheckpointException) as error:
            said = str(error).strip().splitlines()[-1:] or [""]
            raise CheckpointError.at(
                str(self._folder), f"cannot be read ({type(error).__name__}: {said[0][:160]})"
            ) from None


class _Contents(pickle.Unpickler):
    """Makes the classes of a table of contents and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _NAMES.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(kind := getattr(torch, name, None), torch.dtype):
            return kind
        if module.startswith("pathlib"):  # where it was written
            return Inert
        raise pickle.UnpicklingError(f"{module}.{name}")


def _table_of_contents(file: Path) -> Metadata:
    try:
        with file.open("rb") as content:
            found = _Contents(content).load()
    except Exception as error:  # whatever a damaged or forged pickle leads to
        what = f"the table of contents is damaged or holds more than a checkpoint's ({type(error).__name__}: {error})"
        raise CheckpointError.at(str(file), what) from None
    places = getattr(found, "storage_data", None)
    if not isinstance(found, Metadata) or not isinstance(places, dict):
        raise CheckpointError.at(str(file), "is no table of contents")
    for place in places.values():
        if Path(place.relative_path).name != place.relative_path:
            raise CheckpointError.at(str(file), "leads out of its folder", got=place.relative_path)
    return found


def read_folder(folder: Path, *, mapped: bool = False, checked: bool = False) -> dict[str, Any]:
    """What a checkpoint's folder holds, as its one file would have it.

    Args:
        folder: complete.
        mapped: leave tensors in the folder until they are asked for.
        checked: whether :func:`damage` has been looked for already.

    Raises:
        CheckpointError: if a file is damaged or missing.
    """
    if not checked and (found := damage(folder)):
        raise CheckpointError.at(str(folder), found, expected="use an older one")
    state = read_file(folder / REST, stand_ins=False)
    store, saved = Store(folder), state["optim_wrapper"]
    model = StoredState(store, "model.", state["model"])
    numbers = {number: StoredState(store, f"optim.{number}.", marks) for number, marks in saved[STATE].items()}
    ranks = RankStates(folder, state["ranks"])
    if mapped:
        return {**state, "model": model, "optim_wrapper": {**saved, STATE: numbers}, "ranks": ranks}
    whole = {number: each.parts_like({}) for number, each in numbers.items()}
    return {
        **state,
        "model": model.parts_like({}),
        "optim_wrapper": {**saved, STATE: whole},
        "ranks": list(ranks),
    }


def stored_weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a part of the method, whole, by the names that they have in it; the folder may be incomplete.

    Raises:
        CheckpointError: if they cannot be read.
    """
    store, names = Store(folder), f"model.{prefix}"
    found = [name for name in store.read_metadata().state_dict_metadata if name.startswith(names)]
    tensors = {name: store.empty(name, None, False) for name in found}
    store.fill(tensors)
    return {name.removeprefix(names): tensor for name, tensor in tensors.items()}


def write_manifest(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Say that a folder is complete.

    Raises:
        OSError: if it cannot be written.
    """
    write_whole(folder / MANIFEST, json.dumps({"format": 1, "files": dict(sorted(files.items()))}, indent=1) + "\n")


def described(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by name."""
    return {file.name: {"bytes": file.stat().st_size, "sha256": digest_of(file)} for file in files}


def damage(folder: Path, *, share: tuple[int, int] = (0, 1)) -> str | None:
    """What is wrong with the files of a folder; None if nothing is.

    Args:
        folder: with a manifest.
        share: (number, count) of a process that looks at its share of the files' contents; sizes are all looked at.
    """
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        expected = {str(Path(name).name): (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    for name, (size, _) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
    number, count = share
    for name in sorted(expected)[number::count]:
        if digest_of(folder / name) != expected[name][1]:
            return f"{name} does not have the checksum of {MANIFEST}"
    return None
