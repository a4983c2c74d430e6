"""From a folder or a list to the table of its paths: made, or found where an earlier process has kept it."""

import json
import os
import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.sources.entries import (
    Entry,
    FolderTrace,
    folders_unchanged,
    read_list,
    scan_folder,
    skipped_files,
)
from selfsup.data.sources.path_table import Contents, PathTable, write_path_table
from selfsup.data.sources.source import group_number, printable
from selfsup.data.sources.table_store import default_file, one_at_a_time, prepare_default_folder
from selfsup.errors import DataError, nearest
from selfsup.ops.progress import progress_bar

_FEW = 20_000
_UNLABELLED = ("", "-1", "nan")
_WHOLE_NUMBER = re.compile(r"(\d+)(\.0+)?", re.ASCII)


@dataclass(frozen=True)
class Listing:
    """Which images are meant; the arguments are those of :class:`~selfsup.data.ImageList`, checked.

    Args:
        base: what relative paths start at.
        is_list: whether ``root`` is a list.
        endings: lower-case extensions with their dots, of a folder's images.
    """

    root: Path
    base: bytes
    labels: str | None
    is_list: bool
    endings: tuple[str, ...]
    path_column: str
    label_column: str
    label_separator: str | None
    classes: tuple[str, ...] | None
    groups: str | None = None
    group_column: str = "group"

    def table(self, cache: str | os.PathLike[str] | None) -> PathTable:
        """The paths and labels.

        Args:
            cache: the file to keep them in, believed as long as it was made from the same arguments; ``None`` keeps
                many in the machine's temporary folder, believed while nothing has changed, and few in memory.

        Raises:
            DataError: if there are none, labels do not fit, or the table cannot be written.
        """
        file = default_file(self._made_from()) if cache is None else Path(cache)
        try:
            if file is not None and (kept := self._kept(file, believed=cache is not None)) is not None:
                return kept
            trace = FolderTrace()
            entries = self._entries(trace)
            head = list(islice(entries, _FEW + 1)) if cache is None else []
            if file is None or (cache is None and len(head) <= _FEW):
                return self._write(chain(head, entries), trace, None)
            if cache is None:
                prepare_default_folder(file.parent)
            with one_at_a_time(file):
                kept = self._kept(file, believed=cache is not None)
                return kept if kept is not None else self._write(chain(head, entries), trace, file)
        except OSError as error:
            raise DataError.at(
                "cache",
                f"cannot keep the table of paths in {file}: {error.strerror or error}",
                expected="name another file, or another place with TMPDIR",
            ) from None

    def _kept(self, file: Path, *, believed: bool) -> PathTable | None:
        """The table in a file, or None if there is none that still says what it should."""
        try:
            table = PathTable(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError.at("cache", str(error), expected="remove the file or name another") from None
        if table.header["made_from"] != self._made_from() or table.header["stamp"] != self._stamp():
            return None
        names, times = table.array("folder_names"), table.array("folder_times")
        if believed or names is None or times is None or folders_unchanged(self.root, names, times):
            with suppress(OSError):  # a cache that somebody else keeps up, or on a disk that is read only
                os.utime(file)  # in use: not to be removed
            return table
        return None

    def _made_from(self) -> dict[str, Any]:
        paths = {"root": printable(os.fspath(self.root.resolve())), "base": printable(os.path.abspath(self.base))}
        return json.loads(json.dumps({**asdict(self), **paths}))

    def _stamp(self) -> list[int] | None:
        """What tells that a list has changed; folders have a trace."""
        return [self.root.stat().st_size, self.root.stat().st_mtime_ns] if self.is_list else None

    def _entries(self, trace: FolderTrace) -> Iterator[Entry]:
        if self.is_list:
            entries = read_list(
                self.root,
                self.base,
                path_column=self.path_column,
                label_column=None if self.labels is None else self.label_column,
                group_column=self.group_column if self.groups == "column" else None,
            )
        else:
            entries = scan_folder(self.root, self.endings, labelled=self.labels is not None, trace=trace)
        count = 0
        with progress_bar(f"reading {self.root}, thousands of images") as tick:
            for entry in entries:
                yield entry
                count += 1
                if count % 1000 == 0:
                    tick()
        if not count and self.is_list:
            raise DataError.at("root", f"{self.root} names no images")
        if not count:
            skipped = skipped_files(trace.left_out)
            looked_for = f"looked for {', '.join(self.endings)}"
            raise DataError.at("root", f"no images below {self.root}{skipped and f', {skipped}'}", expected=looked_for)

    def _write(self, entries: Iterator[Entry], trace: FolderTrace, file: Path | None) -> PathTable:
        labels = _Labels(self.label_separator)
        groups = array("q")
        stamp = self._stamp()

        def paths() -> Iterator[bytes]:
            for entry in entries:
                if self.labels is not None:
                    labels.add(entry)
                if self.groups is not None:
                    groups.append(group_number(self._group(entry)))
                yield entry.path

        def finish() -> Contents:
            header = {"classes": None, "made_from": self._made_from(), "stamp": stamp, "left_out": vars(trace.left_out)}
            contents = Contents(header=header)
            if file is not None and not self.is_list:
                contents.extra = trace.arrays()
            if self.groups is not None:
                contents.extra["groups"] = np.array(groups, np.int64)
            if self.labels is not None:
                contents.arrays["labels"], contents.header["classes"] = labels.finish(
                    self.root, self.classes, numbers=self.labels == "column"
                )
                if self.label_separator is not None:
                    contents.arrays["label_offsets"] = np.array(labels.offsets, np.int64)
            return contents

        return write_path_table(paths(), finish, file=file)

    def _group(self, entry: Entry) -> str:
        """The name of an image's group; its own path where it is in none."""
        path = printable(entry.path)
        if self.groups == "column":
            return entry.group or path
        if self.groups == "folder":
            return os.path.dirname(path)
        found = re.search(self.groups or "", path)
        return (found and found[found.re.groups and 1]) or path


class _Labels:
    """Collects the label of one image after the other, or its labels, without holding a name per image.

    Args:
        separator: stands between several labels of one image; None if each has one.
    """

    def __init__(self, separator: str | None) -> None:
        self._separator = separator
        self._codes: dict[str, int] = {}
        self._labels = array("q")
        self.offsets = array("q", [0])
        self._without = 0
        self._first_without = b""

    def add(self, entry: Entry) -> None:
        """Take the label of the next image."""
        label = (entry.label or "").strip()
        if self._separator is None:
            self._labels.append(-1 if label.lower() in _UNLABELLED else self._codes.setdefault(label, len(self._codes)))
            return
        names = [name for name in map(str.strip, label.split(self._separator)) if name]
        if not names:
            self._without += 1
            self._first_without = self._first_without or entry.path
        self._labels.extend(self._codes.setdefault(name, len(self._codes)) for name in names)
        self.offsets.append(len(self._labels))

    def finish(self, where: Path, classes: tuple[str, ...] | None, *, numbers: bool) -> tuple[np.ndarray, list[str]]:
        """Number the labels.

        Args:
            where: the folder or list, for messages.
            classes: names in label order; None: those found, sorted.
            numbers: whole numbers are sorted by value, and written the same way ('7' for '07' and '7.0').

        Returns:
            The labels of all images one behind the other, int64, shape (N,) if each has one, -1 where it has none; and
            the class names in label order.

        Raises:
            DataError: if no image has a label, one of several labels is missing, or one is not among ``classes``.
        """
        if self._without:
            first = printable(self._first_without)
            raise DataError.at(
                "label_separator",
                f"{self._without:,} of {len(self.offsets) - 1:,} images of {where} have no label, the first is {first}",
                expected="each needs one",
            )
        if not self._codes:
            raise DataError.at("labels", f"no image of {where} has a label", expected="use labels=None")
        names = list(self._codes)
        whole = [_WHOLE_NUMBER.fullmatch(name) for name in names] if numbers else [None]
        if all(whole):
            as_given = set(classes or ())
            names = [match[0] if match[0] in as_given else str(int(match[1])) for match in whole if match]
        found = sorted(set(names), key=int if all(whole) else None)
        position = {name: number for number, name in enumerate(found if classes is None else classes)}
        for name in names:
            if name not in position:
                raise DataError.at(
                    "classes", f"a label of {where} is not among them", got=name, expected=nearest(name, position)
                )
        mapped = np.array([*(position[name] for name in names), -1], np.int64)  # -1 stays -1
        return mapped[np.frombuffer(self._labels, np.int64)], list(position)
