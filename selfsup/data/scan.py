"""Finding the images of a folder, in an order that does not depend on the file system."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from selfsup.errors import DataError

_SECONDS_BEFORE_PROGRESS = 5.0
_CHECK_EVERY = 4096

T = TypeVar("T")


def scan_folder(root: Path, endings: tuple[str, ...], *, labelled: bool) -> Iterator[tuple[bytes, str | None]]:
    """The images below a folder, depth first, entries sorted by the bytes of their names.

    Args:
        root: the folder. Entries starting with a dot are left out; links are followed, but not in a circle.
        endings: lower-case extensions with their dots.
        labelled: whether to give the first folder below ``root`` as the label.

    Yields:
        The path relative to ``root``, and the label or ``None``.

    Raises:
        DataError: if a folder cannot be read, or if ``labelled`` and an image lies directly in ``root``.
    """
    byte_endings = tuple(ending.encode() for ending in endings)
    for path in _walk(os.fsencode(root), b"", byte_endings, frozenset()):
        if not labelled:
            yield path, None
            continue
        folder, slash, _ = path.partition(b"/")
        if not slash:
            raise DataError(
                f"ImageList.labels='folder': {os.fsdecode(path)} lies directly in {root}, not in a folder that "
                "names its class"
            )
        yield path, folder.decode("utf-8", "backslashreplace")


def _walk(root: bytes, relative: bytes, endings: tuple[bytes, ...], above: frozenset[str]) -> Iterator[bytes]:
    folder = os.path.join(root, relative)
    names: list[tuple[bytes, bool]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir():
                    names.append((entry.name, True))
                elif entry.name.lower().endswith(endings):
                    names.append((entry.name, False))
    except OSError as error:
        raise DataError(f"ImageList.root: cannot read the folder {os.fsdecode(folder)}: {error.strerror}") from None
    names.sort()
    if any(is_folder for _, is_folder in names):
        real = os.path.realpath(os.fsdecode(folder))
        if real in above:
            return
        above |= {real}
    for name, is_folder in names:
        path = os.path.join(relative, name)
        if is_folder:
            yield from _walk(root, path, endings, above)
        else:
            yield path


def not_empty(entries: Iterator[T], message: str) -> Iterator[T]:
    """The same entries; a ``DataError`` with this message when there are none."""
    empty = True
    for entry in entries:
        empty = False
        yield entry
    if empty:
        raise DataError(message)


def with_progress(entries: Iterator[T], text: str) -> Iterator[T]:
    """The same entries, with a count on the terminal once it takes longer than five seconds."""
    started = time.monotonic()
    progress: Progress | None = None
    count = 0
    try:
        for entry in entries:
            count += 1
            if count % _CHECK_EVERY == 0:
                if progress is not None:
                    progress.update(progress.task_ids[0], completed=count)
                elif time.monotonic() - started > _SECONDS_BEFORE_PROGRESS:
                    columns = (
                        TextColumn("{task.description}"),
                        BarColumn(),
                        TextColumn("{task.completed:,.0f} images"),
                    )
                    progress = Progress(*columns, TimeElapsedColumn())
                    progress.add_task(text, total=None, completed=count)
                    progress.start()
            yield entry
    finally:
        if progress is not None:
            progress.update(progress.task_ids[0], completed=count)
            progress.stop()
