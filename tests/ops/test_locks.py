import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from selfsup.ops import locks
from selfsup.ops.locks import Lease, held, living_holder


def test_one_holder_at_a_time_and_the_next_after_it_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with Lease.take(path) or pytest.fail("nobody holds it") as first:
        assert first.is_held
        assert Lease.take(path) is None
        assert living_holder(path) is not None
    assert living_holder(path) is None and not list(tmp_path.iterdir())
    with pytest.raises(KeyError), held(path):
        with pytest.raises(TimeoutError, match=str(os.getpid())), held(path, patience=0.05):
            pass
        raise KeyError
    with held(path, patience=0):
        assert living_holder(path) == f"process {os.getpid()} on {os.uname().nodename}"


def test_a_dead_process_is_replaced_at_once_and_a_silent_machine_after_two_minutes(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    (tmp_path / "lease.4").write_text(f"{os.uname().nodename} {os.getpid()} 1 {locks._namespace()}")
    assert living_holder(path) is None
    file = tmp_path / "lease.5"
    file.write_text("elsewhere 77 123 pid:[1]")
    assert living_holder(path) == "process 77 on elsewhere"
    assert Lease.take(path) is None
    long_ago = time.time() - locks.STALE_SECONDS - 5
    os.utime(file, (long_ago, long_ago))
    with Lease.take(path) or pytest.fail("the machine is silent") as lease:
        assert lease.is_held and [each.name for each in tmp_path.iterdir()] == ["lease.6"]
        lease.file.write_text("another takes over")
        assert not lease.is_held


def count_up(folder: Path, rounds: int) -> None:
    """Read, wait, write: any two holders at a time would lose a count."""
    done = 0
    while done < rounds:
        if (lease := Lease.take(folder / "lease")) is None:
            time.sleep(0.001)
            continue
        with lease:
            counter = folder / "counter"
            value = int(counter.read_text() or 0)
            time.sleep(0.001)
            partial = folder / f"counter.{os.getpid()}"
            partial.write_text(str(value + 1))
            partial.replace(counter)  # a process that is killed leaves the old number or the new one
        done += 1


def test_no_count_is_lost_by_four_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("fork")
    counting = [context.Process(target=count_up, args=(tmp_path, 25)) for _ in range(3)]
    endless = context.Process(target=count_up, args=(tmp_path, 10**9))
    for process in (*counting, endless):
        process.start()
    time.sleep(0.3)
    os.kill(endless.pid or 0, signal.SIGKILL)
    endless.join()
    for process in counting:
        process.join()
    assert all(process.exitcode == 0 for process in counting)
    assert int((tmp_path / "counter").read_text()) >= 75
    assert living_holder(tmp_path / "lease") is None


@pytest.mark.parametrize("meanwhile", [None, "elsewhere 8 1 pid:[1]"])
def test_who_comes_too_late_withdraws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str | None) -> None:
    """A process sees a dead holder; before it takes over, another one has held the lease, and a third may hold it."""
    path, dead = tmp_path / "lease", tmp_path / "lease.5"
    dead.write_text(f"{os.uname().nodename} {os.getpid()} 1 {locks._namespace()} dead")
    real = locks._made

    def late(file: Path, text: str) -> bool:
        if file.name == "lease.6":
            dead.unlink()
            if meanwhile is not None:
                dead.write_text(meanwhile)
        return real(file, text)

    monkeypatch.setattr(locks, "_made", late)
    lease = Lease.take(path)
    if meanwhile is None:
        assert lease is not None and lease.file.name == "lease.1"
        lease.release()
    else:
        assert lease is None and living_holder(path) == "process 8 on elsewhere"


def test_a_holder_that_lives_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    with Lease.take(tmp_path / "lease") or pytest.fail("nobody holds it") as lease:
        os.utime(lease.file, (0, 0))
        deadline = time.monotonic() + 10
        while lease.file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lease.file.stat().st_mtime > 0
