"""A file that one process at a time holds, on network file systems too."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_SECONDS = 120.0
REFRESH_SECONDS = 20.0


@contextmanager
def held(path: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold a lock while inside; what a dead process left is taken over.

    The lock is a file that only one process can make: ``O_EXCL`` holds on NFS, where ``flock`` may not. It names its
    holder, which touches it while it lives. A holder of this machine that is gone, or of another one whose lock was
    not touched for two minutes, counts as dead.

    Args:
        path: of the lock's file, beside what it protects.
        patience: seconds to wait for a living holder.

    Raises:
        TimeoutError: naming the holder, if it does not let go in time.
    """
    deadline = time.monotonic() + patience
    while not _take(path):
        if (holder := living_holder(path)) is None:
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: held by {holder} for over {patience:g} s")
        time.sleep(0.02)
    done = threading.Event()
    threading.Thread(target=_refresh, args=(path, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        with contextlib.suppress(OSError):
            path.unlink()


def living_holder(path: Path) -> str | None:
    """Who holds a lock, in words; None if nobody does, or a process that is dead."""
    try:
        words, age = path.read_text().split(), time.time() - path.stat().st_mtime
    except OSError:
        return None
    host, process, *identity = words if len(words) >= 2 else ("another machine", "unknown")
    if [host, *identity[1:]] == [socket.gethostname(), process_namespace()] and process.isdecimal():
        dead = process_birth(process) != identity[0]
    else:
        dead = age > STALE_SECONDS
    return None if dead else f"process {process} on {host}"


def _take(path: Path) -> bool:
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    own = str(os.getpid())
    with os.fdopen(file, "w") as lock:
        lock.write(f"{socket.gethostname()} {own} {process_birth(own)} {process_namespace()}")
    return True


def _refresh(path: Path, done: threading.Event) -> None:
    while not done.wait(REFRESH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def process_birth(process: str) -> str:
    """When a living process of this machine began, so that another one with its number is not taken for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return "alive" if not Path("/proc/self/stat").exists() and _answers(int(process)) else "gone"


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def process_namespace() -> str:
    """What tells containers of one host name apart, whose processes do not see each other."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "-"
