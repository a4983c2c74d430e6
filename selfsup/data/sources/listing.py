"""From a folder or a list to the table of its paths: made, or found where an earlier process has kept it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from selfsup.data.sources.label_numbers import LabelNumbers
from selfsup.data.sources.list_files import read_list
from selfsup.data.sources.path_table import Contents, PathTable, write_path_table
from selfsup.data.sources.scan import FolderTrace, folders_unchanged, not_empty, scan_folder, with_progress
from selfsup.data.sources.table_store import default_file, kept_table, one_at_a_time, prepare_default_folder
from selfsup.errors import DataError

_FEW = 20_000


@dataclass(frozen=True)
class Listing:
    """Which images are meant; the arguments are those of :class:`~selfsup.data.ImageList`, checked.

    Args:
        root: the folder or list.
        labels: ``None``, ``'folder'`` or ``'column'``.
        is_list: whether ``root`` is a list.
        endings: lower-case extensions with their dots, of a folder's images.
        path_column: of a table.
        label_column: of a table.
        label_separator: between several labels of an image, or ``None`` if each has one.
        classes: names in label order, or ``None`` for those found.
    """

    root: Path
    labels: str | None
    is_list: bool
    endings: tuple[str, ...]
    path_column: str
    label_column: str
    label_separator: str | None
    classes: tuple[str, ...] | None

    def table(self, cache: str | os.PathLike[str] | None) -> PathTable:
        """The paths and labels.

        Args:
            cache: the file to keep them in, believed as long as it was made from the same arguments; ``None`` keeps
                many in the machine's temporary folder, believed while nothing has changed, and few in memory.

        Raises:
            DataError: if there are none, a label is missing, or the table cannot be written.
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
            raise DataError(
                f"ImageList: cannot keep the table of paths in {file}: {error.strerror or error}; name another file "
                "with ImageList.cache, or another place with TMPDIR"
            ) from None

    def _kept(self, file: Path, *, believed: bool) -> PathTable | None:
        def is_current(table: PathTable) -> bool:
            if table.header["made_from"] != self._made_from() or table.header["stamp"] != self._stamp():
                return False
            names, times = table.array("folder_names"), table.array("folder_times")
            return believed or names is None or times is None or folders_unchanged(self.root, names, times)

        try:
            return kept_table(file, is_current)
        except ValueError as error:
            raise DataError.at("cache", str(error), expected="remove the file or name another") from None

    def _made_from(self) -> dict[str, Any]:
        return {
            "root": os.fspath(self.root.resolve()),
            "labels": self.labels,
            "label_separator": self.label_separator,
            "classes": None if self.classes is None else list(self.classes),
            "extensions": None if self.is_list else list(self.endings),
            "columns": [self.path_column, self.label_column] if self.is_list else None,
        }

    def _stamp(self) -> list[int] | None:
        """What tells that a list has changed; folders have a trace."""
        return [self.root.stat().st_size, self.root.stat().st_mtime_ns] if self.is_list else None

    def _entries(self, trace: FolderTrace) -> Iterator[tuple[bytes, str | None]]:
        labelled = self.labels is not None
        if self.is_list:
            entries = read_list(
                self.root, labelled=labelled, path_column=self.path_column, label_column=self.label_column
            )
            nothing = f"ImageList.root: {self.root} names no images"
        else:
            entries = scan_folder(self.root, self.endings, labelled=labelled, trace=trace)
            nothing = f"ImageList.root: no images below {self.root}; looked for {', '.join(self.endings)}"
        return with_progress(not_empty(entries, nothing), f"reading {self.root}")

    def _write(self, entries: Iterator[tuple[bytes, str | None]], trace: FolderTrace, file: Path | None) -> PathTable:
        numbers = LabelNumbers(self.label_separator)
        stamp = self._stamp()

        def paths() -> Iterator[bytes]:
            for path, label in entries:
                if self.labels is not None:
                    numbers.add(label, path)
                yield path

        def finish() -> Contents:
            contents = Contents(header={"classes": None, "made_from": self._made_from(), "stamp": stamp})
            if file is not None and not self.is_list:
                contents.trace = trace.arrays()
            if self.labels is not None:
                contents.arrays["labels"], contents.header["classes"] = numbers.finish(
                    self.root, self.classes, keep_numbers=self.labels == "column"
                )
                if self.label_separator is not None:
                    contents.arrays["label_offsets"] = numbers.offsets
            return contents

        return write_path_table(paths(), finish, file=file)
