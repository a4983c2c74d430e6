"""Text and CSV lists of images."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfsup.errors import DataError, did_you_mean

LIST_EXTENSIONS = (".txt", ".csv", ".tsv")


def read_list(
    file: Path, *, labelled: bool, path_column: str = "path", label_column: str = "label"
) -> Iterator[tuple[bytes, str | None]]:
    """The paths of a list in its order, with their labels.

    Args:
        file: one path a line (``.txt``; with labels, the last word of the line is the label), or a table with a header
            line (``.csv``, ``.tsv``). Empty lines are left out.
        labelled: whether to read labels; a missing one is given as ``None``.
        path_column: column of the paths, in a table.
        label_column: column of the labels, in a table.

    Raises:
        DataError: if the file cannot be read, a table lacks a column or a row lacks its path.
    """
    try:
        if file.suffix.lower() == ".txt":
            yield from _text_lines(file, labelled)
        else:
            yield from _table_rows(file, path_column, label_column if labelled else None)
    except OSError as error:
        raise DataError.at("root", f"cannot read {file}: {error.strerror or error}") from None


def _text_lines(file: Path, labelled: bool) -> Iterator[tuple[bytes, str | None]]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines):
            line = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 0 else line.strip()
            if not line:
                continue
            if not labelled:
                yield line, None
                continue
            path, *label = line.rsplit(None, 1)
            yield path, label[0].decode("utf-8", "backslashreplace") if label else None


def _table_rows(file: Path, path_column: str, label_column: str | None) -> Iterator[tuple[bytes, str | None]]:
    with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        columns = [column.strip() for column in next(rows, [])]
        if not columns:
            raise DataError(f"{file}: the list is empty; its first line must name the columns")
        path_at = _column(file, columns, path_column, "path_column")
        label_at = None if label_column is None else _column(file, columns, label_column, "label_column")
        while (row := _next_row(file, rows)) is not None:
            if not any(row):
                continue
            path = row[path_at].strip() if path_at < len(row) else ""
            if not path:
                raise DataError(f"{file}, line {rows.line_num}: no {path_column!r} in this row")
            label = row[label_at].strip() if label_at is not None and label_at < len(row) else None
            yield os.fsencode(path), label


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
