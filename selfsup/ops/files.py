"""Files that are whole or not there, and what to say when the disk does not take them."""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from selfsup.errors import RecordError

WORK_DIR_MARKER = "environment.json"
"""A folder with this file is the work dir of a run: nothing in it is anybody's data."""


def found_in_work_dir(folder: Path) -> set[str] | None:
    """Names of what was in a work dir before its first run, which are the user's; None for any other folder."""
    try:
        return set(json.loads((folder / WORK_DIR_MARKER).read_text(encoding="utf-8"))["found_in_work_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN}
"""Errors of network file systems that are often gone a moment later."""
WAITS = (0.1, 0.5, 2.0)
"""Seconds before a file is read again."""


def read_patiently(path: Path) -> bytes:
    """What a file holds; read again a few times where the file system is the reason that it cannot be read.

    Raises:
        OSError: if it cannot be read then either, or for another reason, such as that it is not there.
    """
    for wait in WAITS:
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            time.sleep(wait)
    return path.read_bytes()


_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "let files grow larger (ulimit -f)",
}


class WholeAppends:
    """A file that grows by whole pieces: of one that does not fit nothing stays behind.

    Args:
        path: made if it is not there.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, piece: bytes) -> None:
        """Append a piece; it is with the system when this returns.

        Raises:
            OSError: if it could not be written; the file is as it was.
        """
        before = self._file.seek(0, os.SEEK_END)
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            raise

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: if the system finds only now, as over a network, that there was no room.
        """
        self._file.close()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file, which is flushed to the disk and renamed to ``path`` then; nothing is left if it fails."""
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        settle(partial, path)
    except Exception:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text beside its final place, flush it to the disk and rename it.

    Raises:
        OSError: if it cannot be written; whatever stood at ``path`` before is untouched.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_record(path: Path, text: str) -> None:
    """:func:`write_whole` for what a run has to leave on record.

    Raises:
        RecordError: if it cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise unrecorded(path, error) from error


def settle(partial: Path, path: Path) -> None:
    """Give a written file its name once it is on the disk, and see to it that the name is there too."""
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    _to_disk(path.parent)


def settle_folder(partial: Path, path: Path) -> None:
    """Give a folder whose files are on the disk its name; what had that name before is removed."""
    _to_disk(partial)
    if path.exists():
        before = path.with_name(f"{path.name}.replaced.partial")
        path.rename(before)
        shutil.rmtree(before, ignore_errors=True)
    partial.rename(path)
    _to_disk(path.parent)


def _to_disk(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def unrecorded(path: Path, error: OSError) -> RecordError:
    """The error of a record that the disk does not take."""
    return RecordError.at(str(path), f"could not be written ({reason(error, path)})", expected=remedy(error))


def reason(error: BaseException, path: Path) -> str:
    """What the system says, and the room that is left where ``path`` is."""
    cause = _of_the_system(error)
    said = f"{cause.strerror or cause}; " if cause is not None else ""
    folder = next(folder for folder in (*path.absolute().parents, Path()) if folder.is_dir())
    return f"{said}{shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free there"


def remedy(error: BaseException) -> str:
    """What would help, as the beginning of a sentence."""
    cause = _of_the_system(error)
    number = errno.ENOSPC if cause is None else cause.errno  # a writer that hides the cause is out of room, as a rule
    return _REMEDIES.get(number or 0, "see to it that it can be written")


def _of_the_system(error: BaseException) -> OSError | None:
    """PyTorch's zip writer hides what the system says behind a line of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause
