"""One holder at a time, on network file systems too: a dead one is replaced, a living one never."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

STALE_SECONDS = 120.0
BEAT_SECONDS = 15.0


class Lease:
    """The right to do a piece of work, held until it is released or its holder dies.

    Each lease is a file of its own, ``PATH.1``, ``PATH.2`` and so on, and only the newest counts. To take over from a
    dead holder is to make the next file, which just one process can, for ``link`` fails where a name is taken, and then
    to remove the dead one's. Whoever finds that file gone, or another's, has come too late and withdraws. A holder
    touches its file every fifteen seconds. One of this machine is dead if its process is gone; one of another machine
    if its file was not touched for two minutes by the clock of the file system.

    Args:
        file: the lease's own file.
        text: what stands in it, and in no other.
    """

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text = file, text
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    @classmethod
    def take(cls, path: Path) -> "Lease | None":
        """A lease, or None if a living process holds one.

        Args:
            path: what is held; its folder must be there.
        """
        while True:
            number = newest(path)
            seen = _text(_file(path, number)) if number else ""
            if seen is None:
                continue  # released since
            if number and _is_alive(seen, _file(path, number)):
                return None
            file, own = _file(path, number + 1), _own_text()
            if not _made(file, own):
                continue
            if newest(path) == number + 1 and (not number or _text(_file(path, number)) == seen):
                for older in range(number, 0, -1):
                    _file(path, older).unlink(missing_ok=True)
                return cls(file, own)
            file.unlink(missing_ok=True)  # while this process looked, another one has held it

    @property
    def is_held(self) -> bool:
        """Whether nobody has taken it over, as after a machine was asleep for long."""
        return _text(self.file) == self.text

    def release(self) -> None:
        """Let others take it."""
        self._over.set()
        with contextlib.suppress(OSError):
            self.file.unlink()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.file)


@contextmanager
def held(path: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold a lease while inside.

    Args:
        path: what is held, see :class:`Lease`.
        patience: seconds to wait for a living holder.

    Raises:
        TimeoutError: naming the holder, if it does not let go in time.
    """
    deadline = time.monotonic() + patience
    while (lease := Lease.take(path)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: held by {living_holder(path)} for over {patience:g} s")
        time.sleep(0.02)
    with lease:
        yield


def _own_text() -> str:
    """Who this process is, and a word that no other lease has."""
    own = str(os.getpid())
    return f"{socket.gethostname()} {own} {_birth(own)} {_namespace()} {os.urandom(8).hex()}"


def _text(file: Path) -> str | None:
    """What stands in a lease's file; None if it is gone."""
    try:
        return file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _made(file: Path, text: str) -> bool:
    """Make a file with its text, whole and at once; whether it was not there before."""
    partial = file.with_name(f".{file.name}.{text.rpartition(' ')[2]}")
    partial.write_text(text)
    try:
        os.link(partial, file)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def _is_alive(text: str, file: Path) -> bool:
    """Whether the process that a lease names lives, as far as this machine can tell."""
    words = text.split()
    if len(words) >= 4 and (words[0], words[3]) == (socket.gethostname(), _namespace()):
        return _birth(words[1]) == words[2]
    return _age(file) < STALE_SECONDS


def newest(path: Path) -> int:
    """The number of the newest lease of a path; 0 if there was none."""
    prefix = f"{path.name}."
    if not path.parent.is_dir():
        return 0
    with os.scandir(path.parent) as entries:
        numbers = [
            int(entry.name[len(prefix) :])
            for entry in entries
            if entry.name.startswith(prefix) and entry.name[len(prefix) :].isdecimal()
        ]
    return max(numbers, default=0)


def living_holder(path: Path) -> str | None:
    """Who holds a lease of a path, in words; None if nobody does, or a process that is dead."""
    file = _file(path, newest(path))
    text = _text(file)
    if text is None or not _is_alive(text, file):
        return None
    host, process = [*text.split(), "another machine", "unknown"][:2]
    return f"process {process} on {host}"


def is_left(path: Path) -> bool:
    """Whether somebody who is dead or alive has not released the newest lease of a path."""
    return _text(_file(path, newest(path))) is not None


def _file(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _age(file: Path) -> float:
    """Seconds since a file was touched, both times by the clock of its file system."""
    probe = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.{time.monotonic_ns()}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _birth(process: str) -> str:
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


def _namespace() -> str:
    """What tells containers of one host name apart, whose processes do not see each other."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "-"
