"""Millions of paths as memory-mapped bytes, shared by every worker of a machine.

A Python list of 10 million paths costs gigabytes, and forked workers copy it page by page as they touch the reference
counts; here a path costs its bytes plus 8, mapped once, and pickling sends only the file's name.

The file: 8 bytes of magic, the length of a JSON header, the header padded to 8 bytes, N + 1 int64 offsets, the int64
labels if there are any (N, or with several per image all of them and N + 1 offsets), all paths one behind the other.
"""

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.label_sets import LabelSets

_MAGIC = b"SSPATHS2"


class PathTable:
    """The mapped file.

    Args:
        file: a file made by ``write_path_table``.

    Raises:
        ValueError: if the file is not a path table.

    Attributes:
        header: what ``write_path_table`` was given to keep.
        labels: int64, shape (N,), or ``None``.
        label_sets: the labels of images that may have several, or ``None``.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = os.fspath(file)
        with open(self.file, "rb") as stream:
            if stream.read(8) != _MAGIC:
                raise ValueError(f"{self.file}: not a path table")
            header_length = int.from_bytes(stream.read(8), "little")
            self.header: dict[str, Any] = json.loads(stream.read(header_length))
        length, num_labels = self.header["length"], self.header["num_labels"]
        num_classes = self.header["num_classes"]
        counts = [length + 1, num_labels, length + 1 if num_classes else 0]
        mapped = np.memmap(self.file, np.uint8, "r")
        at = 16 + header_length
        numbers = mapped[at : at + 8 * sum(counts)].view(np.int64)
        self._offsets, labels, label_offsets = np.split(numbers, np.cumsum(counts)[:2])
        self.labels: np.ndarray | None = np.asarray(labels) if num_labels and not num_classes else None
        self.label_sets: LabelSets | None = None
        if num_classes:
            self.label_sets = LabelSets(np.asarray(labels), np.asarray(label_offsets), num_classes)
        self._bytes = mapped[at + numbers.nbytes :]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        """The path at ``index``, 0 <= index < len, as bytes."""
        start, stop = self._offsets[index : index + 2]
        return self._bytes[start:stop].tobytes()

    @property
    def nbytes(self) -> int:
        """Size of the file, which is all that the paths occupy."""
        return os.path.getsize(self.file)

    def __reduce__(self) -> tuple[type["PathTable"], tuple[str]]:
        return PathTable, (self.file,)


def write_path_table(
    paths: Iterable[bytes],
    finish: Callable[[], tuple[np.ndarray | LabelSets | None, dict[str, Any]]],
    *,
    file: str | os.PathLike[str] | None = None,
) -> PathTable:
    """Write paths to a file and map it.

    Args:
        paths: consumed once, while writing.
        finish: called when all paths are written; returns their int64 labels, shape (N,), or label sets, or ``None``,
            and the JSON values to keep with them.
        file: where to keep the table; written under a temporary name and renamed. ``None`` uses a temporary file that
            goes away with the returned object.

    Raises:
        OSError: if the file cannot be written.
    """
    folder = Path(file).parent if file is not None else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    offsets = array("q", [0])
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix="selfsup-paths-") as blob,
        tempfile.NamedTemporaryFile(dir=folder, prefix="selfsup-paths-", delete=False) as table,
    ):
        try:
            position = 0
            for path in paths:
                blob.write(path)
                position += len(path)
                offsets.append(position)
            labels, header = finish()
            arrays: list[np.ndarray] = []
            num_classes = 0
            if isinstance(labels, LabelSets):
                arrays, num_classes = [labels.numbers, labels.offsets], labels.num_classes
            elif labels is not None:
                arrays = [labels]
            described = {
                "length": len(offsets) - 1,
                "num_labels": len(arrays[0]) if arrays else 0,
                "num_classes": num_classes,  # 0 where no image has several labels
            }
            encoded = json.dumps({**header, **described}).encode()
            encoded += b" " * (-len(encoded) % 8)
            table.write(_MAGIC + len(encoded).to_bytes(8, "little") + encoded)
            offsets.tofile(table)
            for numbers in arrays:
                numbers.astype(np.int64, copy=False).tofile(table)
            blob.seek(0)
            while chunk := blob.read(1 << 24):
                table.write(chunk)
            table.close()
            if file is not None:
                os.replace(table.name, file)
        except BaseException:
            os.unlink(table.name)
            raise
    if file is not None:
        return PathTable(file)
    made = PathTable(table.name)
    weakref.finalize(made, _remove_if_owner, table.name, os.getpid())
    return made


def _remove_if_owner(file: str, owner: int) -> None:
    """Remove the temporary file, but not when a forked worker drops its copy of the table."""
    if os.getpid() == owner and os.path.exists(file):
        os.unlink(file)
