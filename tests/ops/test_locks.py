import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfsup.ops import locks
from selfsup.ops.locks import held, living_holder


def test_a_lock_is_held_by_one_and_given_up_also_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path):
        assert path.read_text().startswith(f"{socket.gethostname()} {os.getpid()} ")
        with pytest.raises(TimeoutError, match=str(os.getpid())), held(path, patience=0.05):
            pass
    with pytest.raises(KeyError), held(path):
        raise KeyError
    assert not path.exists()


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The lock of a process that was killed."""
    path = tmp_path / "lock"
    program = "import os, sys; from pathlib import Path; from selfsup.ops.locks import held\n"
    program += "with held(Path(sys.argv[1])): os._exit(1)"
    subprocess.run([sys.executable, "-c", program, str(path)])
    assert path.exists()
    return path


def test_the_lock_of_a_dead_process_is_taken_over(left: Path) -> None:
    with held(left, patience=1):
        assert str(os.getpid()) in left.read_text()


def test_a_process_that_was_given_the_number_of_a_dead_one_is_another(left: Path) -> None:
    host, _, *rest = left.read_text().split()
    left.write_text(" ".join([host, str(os.getpid()), *rest]))
    assert living_holder(left) is None


def test_a_container_with_the_same_host_name_is_another_machine(left: Path) -> None:
    left.write_text(" ".join([*left.read_text().split()[:-1], "pid:[1]"]))
    assert living_holder(left) is not None
    os.utime(left, (0, 0))
    assert living_holder(left) is None


def test_a_holder_that_lives_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "REFRESH_SECONDS", 0.01)
    path = tmp_path / "lock"
    with held(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_the_lock_of_another_machine_is_taken_over_once_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("elsewhere 1")
    with pytest.raises(TimeoutError), held(path, patience=0.05):
        pass
    os.utime(path, (0, 0))
    with held(path, patience=1):
        pass
