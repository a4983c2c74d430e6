"""The images that a folder or a list names, with their labels and groups, in an order that is the same everywhere."""

import csv
import logging
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfsup.errors import DataError, did_you_mean
from selfsup.ops.files import WORK_DIR_MARKER, found_in_work_dir

LIST_EXTENSIONS = (".txt", ".csv", ".tsv")

_TICK = 2_000_000_000  # nanoseconds; FAT's clock, the coarsest of a file system

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An image of a folder or a list: its path as it stands there, and its label and group where they are wanted."""

    path: bytes
    label: str | None = None
    group: str | None = None


class FolderTrace:
    """Which folders were read and how old they were: tells later, without reading them again, whether anything changed.

    A name that is added to a folder, removed or replaced moves the folder's times. A folder that was changed just
    before it was read could change once more within a tick of the clock, unnoticed, and counts as changed.
    """

    def __init__(self) -> None:
        self._names = bytearray()
        self._times = array("q")

    def add(self, relative: bytes, folder: bytes) -> None:
        """Note a folder that is about to be read."""
        times = _folder_times(folder)
        self._names += relative + b"\0"
        self._times.extend((-1, -1) if max(times) > time.time_ns() - _TICK else times)

    def arrays(self) -> dict[str, np.ndarray]:
        """What :func:`folders_unchanged` needs."""
        return {
            "folder_names": np.frombuffer(bytes(self._names), np.uint8),
            "folder_times": np.array(self._times, np.int64),
        }


def folders_unchanged(root: Path, names: np.ndarray, times: np.ndarray) -> bool:
    """Whether scanning the folder again would give the same images, from the arrays of a :class:`FolderTrace`."""
    top = os.fsencode(root)
    try:
        return all(
            _folder_times(os.path.join(top, name)) == tuple(noted)
            for name, noted in zip(names.tobytes().split(b"\0")[:-1], times.reshape(-1, 2).tolist(), strict=True)
        )
    except OSError:
        return False


def _folder_times(folder: bytes) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_mtime_ns, status.st_ctime_ns


def scan_folder(
    root: Path, endings: tuple[str, ...], *, labelled: bool, trace: FolderTrace | None = None
) -> Iterator[Entry]:
    """The images below a folder, depth first, entries sorted by the bytes of their names.

    Args:
        root: the folder. Entries starting with a dot are left out; links are followed, but not in a circle; pipes,
            sockets and devices are no images, a broken link is found out when it is decoded. Of the work dir of a run
            only what was there before the run counts.
        endings: lower-case extensions with their dots.
        labelled: whether to give the first folder below ``root`` as the label.
        trace: is told of every folder.

    Yields:
        The path relative to ``root``, its parts separated by ``/``, with its label.

    Raises:
        DataError: if a folder cannot be read, or if ``labelled`` and an image lies directly in ``root``.
    """
    byte_endings = tuple(ending.encode() for ending in endings)
    work_dirs: list[str] = []
    for path in _walk(os.fsencode(root), b"", byte_endings, frozenset(), trace, work_dirs):
        if not labelled:
            yield Entry(path)
            continue
        folder, slash, _ = path.partition(b"/")
        if not slash:
            raise DataError(
                f"ImageList.labels='folder': {os.fsdecode(path)} lies directly in {root}, not in a folder that "
                "names its class"
            )
        yield Entry(path, folder.decode("utf-8", "backslashreplace"))
    if work_dirs:
        logger.warning(
            "%s: what runs have written is not read as images; work dirs: %s%s",
            root,
            work_dirs[0],
            f" and {len(work_dirs) - 1} more" if len(work_dirs) > 1 else "",
        )


def _walk(
    root: bytes,
    relative: bytes,
    endings: tuple[bytes, ...],
    above: frozenset[str],
    trace: FolderTrace | None,
    work_dirs: list[str],
) -> Iterator[bytes]:
    folder = os.path.join(root, relative)
    names: list[tuple[bytes, bool]] = []
    of_a_run = False
    try:
        if trace is not None:
            trace.add(relative, folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                of_a_run = of_a_run or entry.name == WORK_DIR_MARKER.encode()
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir():
                    names.append((entry.name, True))
                elif entry.name.lower().endswith(endings) and (entry.is_file() or entry.is_symlink()):
                    names.append((entry.name, False))
    except OSError as error:
        raise DataError(f"root: cannot read the folder {os.fsdecode(folder)}: {error.strerror}") from None
    if of_a_run and (before := found_in_work_dir(Path(os.fsdecode(folder)))) is not None:
        work_dirs.append(os.fsdecode(folder))
        names = [name for name in names if os.fsdecode(name[0]) in before]
    names.sort()
    if any(is_folder for _, is_folder in names):
        real = os.path.realpath(os.fsdecode(folder))
        if real in above:
            return
        above |= {real}
    for name, is_folder in names:
        path = relative + b"/" + name if relative else name
        if is_folder:
            yield from _walk(root, path, endings, above, trace, work_dirs)
        else:
            yield path


def read_list(
    file: Path, *, path_column: str = "path", label_column: str | None = None, group_column: str | None = None
) -> Iterator[Entry]:
    """The paths of a list in its order, with their labels and groups.

    Args:
        file: one path a line (``.txt``), or a table with a header line (``.csv``, ``.tsv``). Empty lines are left out.
        path_column: column of the paths, in a table.
        label_column: column of the labels; of a text list the last word of each line; None for none.
        group_column: column of the groups, in a table; None for none.

    Raises:
        DataError: if the file cannot be read, a table lacks a column or a row lacks its path.
    """
    try:
        if file.suffix.lower() == ".txt":
            yield from _text_lines(file, label_column is not None)
        else:
            yield from _table_rows(file, path_column, label_column, group_column)
    except OSError as error:
        raise DataError.at("root", f"cannot read {file}: {error.strerror or error}") from None


def _text_lines(file: Path, labelled: bool) -> Iterator[Entry]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines):
            line = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 0 else line.strip()
            if not line:
                continue
            if not labelled:
                yield Entry(line)
                continue
            path, *label = line.rsplit(None, 1)
            yield Entry(path, label[0].decode("utf-8", "backslashreplace") if label else None)


def _table_rows(file: Path, path_column: str, label_column: str | None, group_column: str | None) -> Iterator[Entry]:
    with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        columns = [column.strip() for column in next(rows, [])]
        if not columns:
            raise DataError(f"{file}: the list is empty; its first line must name the columns")
        path_at = _column(file, columns, path_column, "path_column")
        others = [
            None if name is None else _column(file, columns, name, argument)
            for name, argument in ((label_column, "label_column"), (group_column, "group_column"))
        ]
        while (row := _next_row(file, rows)) is not None:
            if not any(row):
                continue
            path = row[path_at].strip() if path_at < len(row) else ""
            if not path:
                raise DataError(f"{file}, line {rows.line_num}: no {path_column!r} in this row")
            yield Entry(
                os.fsencode(path), *(row[at].strip() if at is not None and at < len(row) else None for at in others)
            )


def _next_row(file: Path, rows: Any) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:  # a stray quotation mark swallows lines until a field is too long
        raise DataError(f"{file}, line {rows.line_num}: {error}; is there a stray quotation mark before?") from None


def _column(file: Path, columns: list[str], wanted: str, argument: str) -> int:
    if wanted not in columns:
        raise DataError(
            f"{file}: no column {wanted!r} in its first line{did_you_mean(wanted, columns)} (ImageList.{argument})"
        )
    return columns.index(wanted)
