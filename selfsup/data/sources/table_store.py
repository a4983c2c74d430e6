"""Where a large table of paths is kept, so that the processes of a machine make it once and the next run not at all."""

import glob
import hashlib
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfsup.data.sources.path_table import PathTable, partial_name
from selfsup.errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SECONDS_UNUSED = 30 * 24 * 3600

logger = logging.getLogger(__name__)


def default_file(made_from: dict[str, Any]) -> Path | None:
    """The file of a table that was made from these arguments, in the machine's folder for temporary files.

    Returns:
        The file, which need not exist, or ``None`` where processes cannot wait for each other (Windows).

    Raises:
        DataError: if the folder is there and belongs to somebody else.
    """
    if fcntl is None:
        return None
    folder = Path(tempfile.gettempdir(), f"selfsup-{os.getuid()}")
    if folder.exists():
        _check_owner(folder)
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=16).hexdigest()
    return folder / f"{key}.paths"


def prepare_default_folder(folder: Path) -> None:
    """Make the folder, or remove from it the tables that no run has used for a month.

    Raises:
        DataError: if it belongs to somebody else.
        OSError: if it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    _check_owner(folder)
    now = time.time()
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process was quicker
            if now - path.stat().st_mtime > _SECONDS_UNUSED:
                path.unlink()


def _check_owner(folder: Path) -> None:
    if folder.stat(follow_symlinks=False).st_uid != os.getuid():
        raise DataError.at(
            "cache",
            f"{folder}, where lists of paths are kept, belongs to another user",
            expected="name a file, or another place with TMPDIR",
        )


def kept_table(file: Path, is_current: Callable[[PathTable], bool]) -> PathTable | None:
    """The table in a file, or ``None`` if there is none that is current.

    Args:
        file: where it would be.
        is_current: whether a table still says what it should.

    Raises:
        ValueError: if the file is something else.
    """
    try:
        table = PathTable(file)
    except FileNotFoundError:
        return None
    if not is_current(table):
        return None
    with suppress(OSError):  # a cache that somebody else keeps up, or on a disk that is read only
        os.utime(file)  # in use: not to be removed
    return table


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Only one process at a time makes this file; where files cannot be locked, each makes its own.

    What killed processes left half-written is removed.
    """
    if fcntl is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{file}.lock", "ab") as lock:
        try:
            _wait_for(lock.fileno(), file)
        except OSError:  # a network file system without locks
            yield
            return
        for left in glob.glob(f"{partial_name(glob.escape(os.fspath(file)), '*')}"):
            Path(left).unlink(missing_ok=True)
        yield


def _wait_for(lock: int, file: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("waiting for another process of %s to list the images (%s)", socket.gethostname(), file)
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.utime(lock)
