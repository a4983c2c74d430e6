import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.ops.locks import held


def test_a_lock_is_held_by_one_and_given_up_also_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path):
        assert path.read_text() == f"{socket.gethostname()} {os.getpid()}"
        with pytest.raises(TimeoutError, match=str(os.getpid())), held(path, patience=0.05):
            pass
    with pytest.raises(KeyError), held(path):
        raise KeyError
    assert not path.exists()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {dead.pid}")
    with held(path, patience=1):
        assert str(os.getpid()) in path.read_text()


def test_the_lock_of_another_machine_is_taken_over_once_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("elsewhere 1")
    with pytest.raises(TimeoutError), held(path, patience=0.05):
        pass
    os.utime(path, (0, 0))
    with held(path, patience=1):
        pass
