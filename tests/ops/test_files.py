"""Files that a network file system gives only at the second try."""

import errno
from pathlib import Path

import pytest

from selfsup.ops import files
from selfsup.ops.files import read_patiently


def test_a_read_that_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [errno.EIO, errno.ESTALE]
    waited: list[float] = []
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if errors:
            raise OSError(errors.pop(), "not now")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr(files.time, "sleep", waited.append)
    (tmp_path / "image").write_text("there")
    assert read_patiently(tmp_path / "image") == b"there" and waited == list(files.WAITS[:2])
    with pytest.raises(FileNotFoundError):
        read_patiently(tmp_path / "nothing")
    errors[:] = [errno.EIO] * 9
    with pytest.raises(OSError, match="not now"):
        read_patiently(tmp_path / "image")
    assert len(waited) == 2 + len(files.WAITS)
