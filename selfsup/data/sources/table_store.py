"""Where a large table of paths is kept, so that the processes of a machine make it once and the next run not at all."""

import glob
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfsup.data.sources.path_table import partial_name
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
                shutil.rmtree(path) if path.is_dir() else path.unlink()  # the index of shards is a folder


def _check_owner(folder: Path) -> None:
    if folder.stat(follow_symlinks=False).st_uid != os.getuid():
        raise DataError.at(
            "cache",
            f"{folder}, where lists of paths are kept, belongs to another user",
            expected="name a file, or another place with TMPDIR",
        )


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
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                machine = socket.gethostname()
                logger.info("waiting for another process of %s to list the images (%s)", machine, file)
                fcntl.flock(lock, fcntl.LOCK_EX)
            os.utime(lock.fileno())
        except OSError:  # a network file system without locks
            yield
            return
        for left in glob.glob(f"{partial_name(glob.escape(os.fspath(file)), '*')}"):
            Path(left).unlink(missing_ok=True)
        yield
