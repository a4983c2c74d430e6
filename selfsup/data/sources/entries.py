"""The images that a folder or a list names, with their labels and groups, in an order that is the same everywhere."""

import csv
import os
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selfsup.data.sources.source import printable
from selfsup.errors import DataError, nearest
from selfsup.ops.files import WORK_DIR_MARKER, found_in_work_dir

LIST_EXTENSIONS = (".txt", ".csv", ".tsv")

_TICK = 2_000_000_000  # nanoseconds; FAT's clock, the coarsest of a file system


class Entry(NamedTuple):
    """An image of a folder or a list: its path as it stands there, and its label and group where they are wanted."""

    path: bytes
    label: str | None = None
    group: str | None = None


@dataclass
class LeftOut:
    """What of a folder is not read.

    Args:
        skipped: how many files of each extension are no images, by extension.
        unreadable: folders that may not be read.
        work_dirs: folders of runs, of which only what was there before the run counts.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    work_dirs: list[str] = field(default_factory=list)


def skipped_files(left_out: LeftOut, most: int = 5) -> str:
    """How many files are no images, by extension: ``3 .mp4, 1 .jxl not read as images``; or nothing.

    Args:
        left_out: of a folder.
        most: how many extensions are named.
    """
    ranked = sorted(left_out.skipped.items(), key=lambda item: (-item[1], item[0]))
    counts = [f"{count:,} {extension or 'without an extension'}" for extension, count in ranked[:most]]
    if rest := sum(count for _, count in ranked[most:]):
        counts.append(f"{rest:,} others")
    return f"{', '.join(counts)} not read as images" if counts else ""


class FolderTrace:
    """Which folders were read and how old they were: tells later, without reading them again, whether anything changed.

    A name that is added to a folder, removed or replaced moves the folder's times. A folder that was changed just
    before it was read could change once more within a tick of the clock, unnoticed, and counts as changed.

    Attributes:
        left_out: what was not read.
    """

    def __init__(self) -> None:
        self.left_out = LeftOut()
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


def scan_folder(root: Path, endings: tuple[str, ...], *, labelled: bool, trace: FolderTrace) -> Iterator[Entry]:
    """The images below a folder, depth first, entries sorted by the bytes of their names.

    Args:
        root: the folder. Entries starting with a dot are left out; links are followed, but not in a circle; pipes,
            sockets and devices are no images, a broken link is found out when it is decoded. Of the work dir of a run
            only what was there before the run counts, and of a folder that may not be read nothing.
        endings: lower-case extensions with their dots.
        labelled: whether to give the first folder below ``root`` as the label.
        trace: is told of every folder, and of what is left out.

    Yields:
        The path relative to ``root``, its parts separated by ``/``, with its label.

    Raises:
        DataError: if the folder cannot be read, or if ``labelled`` and an image lies directly in ``root``.
    """
    for path in _walk(os.fsencode(root), b"", tuple(ending.encode() for ending in endings), frozenset(), trace):
        folder, slash, _ = path.partition(b"/")
        if labelled and not slash:
            raise DataError.at(
                "labels",
                f"{printable(path)} lies directly in {root}, not in a folder that names its class",
                expected="use None for images without labels",
            )
        yield Entry(path, printable(folder) if labelled else None)


def _walk(
    root: bytes, relative: bytes, endings: tuple[bytes, ...], above: frozenset[bytes], trace: FolderTrace
) -> Iterator[bytes]:
    folder = os.path.join(root, relative)
    names: list[tuple[bytes, bool]] = []
    no_images: list[bytes] = []
    of_a_run = False
    try:
        trace.add(relative, folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                of_a_run = of_a_run or entry.name == WORK_DIR_MARKER.encode()
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir():
                    names.append((entry.name, True))
                elif entry.name.lower().endswith(endings):
                    if entry.is_file() or entry.is_symlink():
                        names.append((entry.name, False))
                elif not entry.name.startswith(b"run.lock") and not entry.name.endswith(b".log"):
                    # those a run that begins has written already, and no marker yet
                    no_images.append(entry.name)
    except OSError as error:
        if not relative or not isinstance(error, PermissionError):
            raise DataError.at("root", f"cannot read the folder {printable(folder)}: {error.strerror}") from None
        trace.left_out.unreadable.append(printable(folder))
        return
    if of_a_run and (before := found_in_work_dir(Path(os.fsdecode(folder)))) is not None:
        trace.left_out.work_dirs.append(printable(folder))
        names = [name for name in names if os.fsdecode(name[0]) in before]
        no_images = []
    trace.left_out.skipped.update(printable(os.path.splitext(name)[1].lower()) for name in no_images)
    names.sort()
    if any(is_folder for _, is_folder in names):
        real = os.path.realpath(folder)
        if real in above:
            return
        above |= {real}
    for name, is_folder in names:
        path = relative + b"/" + name if relative else name
        if is_folder:
            yield from _walk(root, path, endings, above, trace)
        else:
            yield path


def read_list(
    file: Path,
    base: bytes,
    *,
    path_column: str = "path",
    label_column: str | None = None,
    group_column: str | None = None,
) -> Iterator[Entry]:
    """The paths of a list in its order, with their labels and groups.

    Args:
        file: one path a line (``.txt``), or a table with a header line (``.csv``, ``.tsv``), in UTF-8 or UTF-16. Empty
            lines are left out, quotation marks around a path too.
        base: what relative paths start at. A list whose first path leads to a file only with slashes for its
            backslashes was written on Windows.
        path_column: column of the paths, in a table.
        label_column: column of the labels; of a text list the last word of each line; None for none.
        group_column: column of the groups, in a table; None for none.

    Raises:
        DataError: if the file cannot be read, a table lacks a column or a row lacks its path.
    """
    turn = None
    try:
        with open(file, "rb") as start:
            encoding = _encoding(start.read(2))
        with open(file, encoding=encoding, errors="surrogateescape", newline="") as lines:
            entries = (
                _text_lines(lines, label_column is not None)
                if file.suffix.lower() == ".txt"
                else _table_rows(file, lines, path_column, label_column, group_column)
            )
            for entry in entries:
                path = os.path.expanduser(entry.path) if entry.path.startswith(b"~") else entry.path
                if turn is None:
                    there = [os.path.exists(os.path.join(base, each)) for each in (path, path.replace(b"\\", b"/"))]
                    turn = there == [False, True]
                yield entry._replace(path=path.replace(b"\\", b"/") if turn else path)
    except OSError as error:
        raise DataError.at("root", f"cannot read {file}: {error.strerror or error}") from None
    except UnicodeError as error:
        raise DataError.at("root", f"{file} is not in {encoding}, as its first bytes say ({error})") from None


def _encoding(first_bytes: bytes) -> str:
    """Spreadsheets and PowerShell save text as UTF-16, which begins with a mark; some leave the mark out."""
    if first_bytes in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-16-be" if first_bytes[:1] == b"\0" else "utf-16-le" if first_bytes[1:] == b"\0" else "utf-8-sig"


def _as_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _text_lines(lines: Iterable[str], labelled: bool) -> Iterator[Entry]:
    for line in map(_as_bytes, lines):
        if not (path := line.strip()):
            continue
        path, *label = path.rsplit(None, 1) if labelled else [path]
        if path[:1] == path[-1:] and path[:1] in (b'"', b"'") and len(path) > 2:
            path = path[1:-1]
        yield Entry(path, printable(label[0]) if label else None)


def _table_rows(
    file: Path, lines: Iterable[str], path_column: str, label_column: str | None, group_column: str | None
) -> Iterator[Entry]:
    rows = csv.reader(lines, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
    columns = [column.strip() for column in next(rows, [])]
    if not columns:
        raise DataError.at("root", f"{file} is empty; its first line must name the columns")
    path_at, label_at, group_at = (
        None if name is None else _column(file, columns, name, argument)
        for name, argument in (
            (path_column, "path_column"),
            (label_column, "label_column"),
            (group_column, "group_column"),
        )
    )
    try:
        for row in filter(any, rows):
            path, label, group = (
                None if at is None or at >= len(row) else row[at].strip() for at in (path_at, label_at, group_at)
            )
            if not path:
                raise DataError.at("root", f"{file}, line {rows.line_num}: no {path_column!r} in this row")
            yield Entry(_as_bytes(path), label, group)
    except csv.Error as error:  # a stray quotation mark swallows lines until a field is too long
        raise DataError.at(
            "root", f"{file}, line {rows.line_num}: {error}; is there a stray quotation mark before?"
        ) from None


def _column(file: Path, columns: list[str], wanted: str, argument: str) -> int:
    if wanted not in columns:
        raise DataError.at(
            argument, f"{file} names no such column in its first line", got=wanted, expected=nearest(wanted, columns)
        )
    return columns.index(wanted)
