"""Millions of paths as memory-mapped bytes, shared by every process of a machine.

A Python list of 10 million paths costs gigabytes, and forked workers copy it page by page as they touch the reference
counts; here a path costs its bytes plus 8, mapped once, and pickling sends only the file's name. Writing takes no
memory to speak of, however many paths there are.

The file: 8 bytes of magic, the position of the header, all paths one behind the other, the arrays (``offsets``, N + 1
int64, and whatever else is kept, each at a multiple of 8), and the header, JSON, which says where each array is.
"""

import hashlib
import io
import json
import os
import socket
import tempfile
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from selfsup.data.sources.source import LabelSets
from selfsup.errors import DataError

_MAGIC = b"SSPATHS3"
_CHUNK = 1 << 20


@dataclass
class Contents:
    """What a table holds besides its paths.

    Args:
        arrays: by name; ``labels`` (int64, shape (N,)) if there are any, with ``label_offsets`` (int64, shape (N + 1,))
            those of all images one behind the other.
        extra: more arrays; two tables that differ in them alone are the same list.
        header: JSON values.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)


class PathTable:
    """The mapped file, or the same bytes in memory.

    Args:
        source: a file made by ``write_path_table``, or its content.

    Raises:
        ValueError: if it is not a path table.

    Attributes:
        file: where the table is; ``None`` for one in memory.
        header: what ``write_path_table`` was given to keep, and ``digest``, which tells lists apart.
        labels: int64, shape (N,), or those of images that may have several; ``None`` without labels.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self.file = None if isinstance(source, bytes) else os.fspath(source)
        self._mapped: np.ndarray
        if isinstance(source, bytes):
            self._mapped = np.frombuffer(source, np.uint8)
        elif os.path.getsize(source) < 16:
            raise ValueError(f"{self.file}: not a path table")
        else:
            self._mapped = np.memmap(source, np.uint8, "r")
        if self._mapped[:8].tobytes() != _MAGIC:
            raise ValueError(f"{self.file}: not a path table")
        header_at = int.from_bytes(self._mapped[8:16].tobytes(), "little")
        self.header: dict[str, Any] = json.loads(self._mapped[header_at:].tobytes())
        offsets = self.array("offsets")
        assert offsets is not None
        self._offsets = offsets
        self._bytes = self._mapped[16:]
        labels, label_offsets = self.array("labels"), self.array("label_offsets")
        self.labels: np.ndarray | LabelSets | None = labels
        if labels is not None and label_offsets is not None:
            self.labels = LabelSets(labels, label_offsets, len(self.header["classes"]))

    def array(self, name: str) -> np.ndarray | None:
        """An array that was kept, or ``None`` if there is none of this name."""
        if name not in self.header["arrays"]:
            return None
        start, length, dtype = self.header["arrays"][name]
        return np.asarray(self._mapped[start : start + length * np.dtype(dtype).itemsize].view(dtype))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        """The path at ``index``, 0 <= index < len, as bytes."""
        start, stop = self._offsets[index : index + 2]
        return self._bytes[start:stop].tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return PathTable, (self._mapped.tobytes(),)
        return _open_again, (self.file, self.header["digest"])


def _open_again(file: str, digest: str) -> PathTable:
    """The table that another process has open, by its name."""
    table = PathTable(file)
    if table.header["digest"] != digest:
        raise DataError.at(
            file, "the images changed and were listed anew while this run was starting", expected="start it again"
        )
    return table


def write_path_table(
    paths: Iterable[bytes],
    finish: Callable[[], Contents] = Contents,
    *,
    file: str | os.PathLike[str] | None = None,
) -> PathTable:
    """Write paths to a file and map it.

    Args:
        paths: consumed once, while writing.
        finish: called when all paths are written; returns what else to keep.
        file: where to keep the table; written under a temporary name and renamed. ``None`` keeps it in memory.

    Raises:
        OSError: if the file cannot be written.
    """
    if file is None:
        stream = io.BytesIO()
        _write(stream, paths, finish, folder=None)
        return PathTable(stream.getvalue())
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(file, os.getpid())
    try:
        with open(partial, "w+b") as kept:
            _write(kept, paths, finish, folder=os.fspath(Path(file).parent))
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return PathTable(file)


def partial_name(file: str | os.PathLike[str], process: int | str) -> Path:
    """What a table is called while a process of this machine writes it."""
    return Path(f"{os.fspath(file)}.{socket.gethostname()}-{process}.partial")


def _write(stream: IO[bytes], paths: Iterable[bytes], finish: Callable[[], Contents], *, folder: str | None) -> None:
    digest = hashlib.blake2b(digest_size=16)
    stream.write(_MAGIC + bytes(8))
    with tempfile.SpooledTemporaryFile(_CHUNK, dir=folder) as spooled:  # has no name, so that a kill leaves nothing
        count, waiting, offsets, position = 0, bytearray(), array("q", [0]), 0
        for path in paths:
            waiting += path
            position += len(path)
            offsets.append(position)
            count += 1
            if len(waiting) >= _CHUNK:
                stream.write(waiting)
                digest.update(waiting)
                spooled.write(offsets.tobytes())
                waiting, offsets = bytearray(), array("q")
        stream.write(waiting)
        digest.update(waiting)
        spooled.write(offsets.tobytes())
        contents = finish()
        where: dict[str, tuple[int, int, str]] = {"offsets": (_align(stream), count + 1, "<i8")}
        spooled.seek(0)
        while chunk := spooled.read(_CHUNK):
            stream.write(chunk)
            digest.update(chunk)
    for name, values in {**contents.arrays, **contents.extra}.items():
        where[name] = (_align(stream), len(values), values.dtype.str)
        content = np.ascontiguousarray(values).data
        stream.write(content)
        if name in contents.arrays:
            digest.update(content)
    header = {**contents.header, "arrays": where, "digest": digest.hexdigest()}
    header_at = _align(stream)
    stream.write(json.dumps(header).encode())
    stream.seek(8)
    stream.write(header_at.to_bytes(8, "little"))


def _align(stream: IO[bytes]) -> int:
    stream.write(bytes(-stream.tell() % 8))
    return stream.tell()
