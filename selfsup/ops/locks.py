"""A file that one process at a time holds, on network file systems too."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_SECONDS = 120.0


@contextmanager
def held(path: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold a lock while inside; what a dead process left is taken over.

    The lock is a file that only one process can make: ``O_EXCL`` holds on NFS, where ``flock`` may not. It names its
    holder; one of this machine that is gone, or of another one whose lock is older than two minutes, counts as dead.
    Meant for what takes seconds.

    Args:
        path: of the lock's file, beside what it protects.
        patience: seconds to wait for a living holder.

    Raises:
        TimeoutError: naming the holder, if it does not let go in time.
    """
    deadline = time.monotonic() + patience
    while not _take(path):
        if _is_dead(path):
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: held by {_holder(path) or 'another process'} for over {patience:g} s")
        time.sleep(0.02)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _take(path: Path) -> bool:
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(file, "w") as lock:
        lock.write(f"{socket.gethostname()} {os.getpid()}")
    return True


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _is_dead(path: Path) -> bool:
    host, _, process = _holder(path).partition(" ")
    if host == socket.gethostname() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    return False
