"""Finding the images of a folder, in an order that does not depend on the file system."""

import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from selfsup.errors import DataError

_SECONDS_BEFORE_PROGRESS = 5.0
_CHECK_EVERY = 4096

_TICK = 2_000_000_000  # nanoseconds; FAT's clock, the coarsest of a file system

T = TypeVar("T")


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
) -> Iterator[tuple[bytes, str | None]]:
    """The images below a folder, depth first, entries sorted by the bytes of their names.

    Args:
        root: the folder. Entries starting with a dot are left out; links are followed, but not in a circle; pipes,
            sockets and devices are no images, a broken link is found out when it is decoded.
        endings: lower-case extensions with their dots.
        labelled: whether to give the first folder below ``root`` as the label.
        trace: is told of every folder.

    Yields:
        The path relative to ``root``, its parts separated by ``/``, and the label or ``None``.

    Raises:
        DataError: if a folder cannot be read, or if ``labelled`` and an image lies directly in ``root``.
    """
    byte_endings = tuple(ending.encode() for ending in endings)
    for path in _walk(os.fsencode(root), b"", byte_endings, frozenset(), trace):
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


def _walk(
    root: bytes, relative: bytes, endings: tuple[bytes, ...], above: frozenset[str], trace: FolderTrace | None
) -> Iterator[bytes]:
    folder = os.path.join(root, relative)
    names: list[tuple[bytes, bool]] = []
    try:
        if trace is not None:
            trace.add(relative, folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir():
                    names.append((entry.name, True))
                elif entry.name.lower().endswith(endings) and (entry.is_file() or entry.is_symlink()):
                    names.append((entry.name, False))
    except OSError as error:
        raise DataError.at("root", f"cannot read the folder {os.fsdecode(folder)}: {error.strerror}") from None
    names.sort()
    if any(is_folder for _, is_folder in names):
        real = os.path.realpath(os.fsdecode(folder))
        if real in above:
            return
        above |= {real}
    for name, is_folder in names:
        path = relative + b"/" + name if relative else name
        if is_folder:
            yield from _walk(root, path, endings, above, trace)
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
