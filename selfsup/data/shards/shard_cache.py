"""The folder of a machine that holds the remote shards used last: room in it, and how often it served."""

import contextlib
import os
import socket
import time
from pathlib import Path

from selfsup.ops.locks import held

_OFTEN = 64  # reads after which they are noted for all processes to see
_READS_KEPT = 24 * 3600  # seconds that the counts of processes which are gone stay


def touched(shard: Path) -> bool:
    """Whether a shard is here; it is then the one used last."""
    try:
        os.utime(shard)
    except FileNotFoundError:
        return False
    return True


def make_room(folder: Path, partial: Path, size: int, max_bytes: int) -> None:
    """Remove the shards used longest ago until there is room for one more, and take that room.

    Args:
        folder: of the shards.
        partial: the file that will be written; it has its size from now on, so that others count it.
        size: bytes of that.
        max_bytes: of all.
    """
    with held(folder / "room.lock", patience=600):
        there = []
        for entry in folder.iterdir():
            if entry.suffix in (".tar", ".partial"):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    there.append((status.st_mtime_ns, status.st_size, entry))
        left = max_bytes - size - sum(each[1] for each in there)
        for _, freed, entry in sorted(each for each in there if each[2].suffix == ".tar"):
            if left >= 0:
                break
            entry.unlink(missing_ok=True)
            left += freed
        with partial.open("wb") as file:
            file.truncate(size)


class ReadCounts:
    """How often the processes of a machine read, and waited for a shard; each process has a file in the folder.

    Args:
        folder: of the shards.
        began: when the run began, in seconds since the epoch: files that are older are of other runs.
    """

    def __init__(self, folder: Path, began: float) -> None:
        self._folder, self._began = folder, began
        self._reads = self._waited = 0

    def read(self) -> None:
        """Count a read."""
        self._reads += 1
        if self._reads % _OFTEN == 0:
            self._note()

    def waited(self) -> None:
        """Count that a read had to wait."""
        self._waited += 1
        self._note()

    def of_all(self) -> tuple[int, int]:
        """Reads of all processes, and how many waited."""
        self._note()
        reads = waited = 0
        for file in self._folder.glob("*.reads"):
            with contextlib.suppress(OSError, ValueError):
                if file.stat().st_mtime >= self._began - 1:
                    some, late = map(int, file.read_text().split())
                    reads, waited = reads + some, waited + late
        return reads, waited

    def drop_old(self) -> None:
        """Remove the files of processes that are gone for a day."""
        for file in self._folder.glob("*.reads"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _READS_KEPT:
                    file.unlink()

    def _note(self) -> None:
        with contextlib.suppress(OSError):
            own = self._folder / f"{socket.gethostname()}-{os.getpid()}-{id(self)}.reads"
            own.write_text(f"{self._reads} {self._waited}")
