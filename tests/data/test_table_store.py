"""Large listings: made once on a machine, believed while nothing has changed, never left half-written."""

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from selfsup.data import ImageList
from selfsup.data.sources import entries, listing, table_store
from selfsup.errors import DataError


class Machine:
    """Its folder for temporary files, a folder of nine images, and how often that was scanned."""

    def __init__(self, base: Path) -> None:
        self.temporary, self.photos = base / "temporary", base / "photos"
        self.temporary.mkdir()
        for number in range(9):
            folder = self.photos / f"{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(b"")
        self.scans = 0
        self.seconds_per_image = 0.0
        self.stuck_at = -1

    def scan(self, *arguments: Any, **options: Any) -> Iterator[entries.Entry]:
        self.scans += 1
        for number, entry in enumerate(entries.scan_folder(*arguments, **options)):
            time.sleep(60 if number == self.stuck_at else self.seconds_per_image)
            yield entry

    def age(self) -> None:
        """An hour goes by."""
        for folder in (self.photos, *self.photos.iterdir()):
            os.utime(folder, (time.time() - 3600,) * 2)

    def kept(self) -> list[str]:
        return sorted(path.suffix for path in self.temporary.glob("*/*"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Three images are many there, and clocks tick fast."""
    found = Machine(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(found.temporary))
    monkeypatch.setattr(listing, "_FEW", 3)
    monkeypatch.setattr(listing, "scan_folder", found.scan)
    monkeypatch.setattr(entries, "_TICK", 0)
    return found


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_the_next_run_maps_the_table_of_the_first(machine: Machine) -> None:
    (machine.photos / "a.mp4").write_bytes(b"")
    first, second = ImageList(machine.photos, "folder"), ImageList(machine.photos, "folder")
    assert machine.scans == 1
    assert [second.name(index) for index in range(9)] == [first.name(index) for index in range(9)]
    assert second.labels is not None and second.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert second.left_out.skipped == first.left_out.skipped == {".mp4": 1}
    assert pickle.loads(pickle.dumps(second)).name(4) == first.name(4)
    assert machine.kept() == [".lock", ".paths"]
    assert (machine.temporary / f"selfsup-{os.getuid()}").stat().st_mode & 0o777 == 0o700
    assert ImageList(machine.photos).labels is None  # other arguments have a table of their own
    assert machine.scans == 2 and machine.kept() == [".lock", ".lock", ".paths", ".paths"]


@pytest.mark.parametrize("change", ["add", "remove", "replace", "rename a folder", "add a folder", "keep the time"])
def test_a_folder_that_has_changed_is_scanned_again(
    machine: Machine, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_FEW", 9)
    assert len(ImageList(machine.photos)) == 9 and list(machine.temporary.iterdir()) == []  # few are not kept
    monkeypatch.setattr(listing, "_FEW", 3)
    machine.age()
    ImageList(machine.photos)
    folder = machine.photos / "1"
    before = folder.stat()
    if change == "remove":
        (folder / "4.jpg").unlink()
    elif change == "replace":
        (folder / "4.jpg").rename(folder / "5.jpg")
    elif change == "rename a folder":
        folder.rename(machine.photos / "8")
    else:
        inside = folder / "deep" if change == "add a folder" else folder
        inside.mkdir(exist_ok=True)
        (inside / "new.jpg").write_bytes(b"")
    if change == "keep the time":
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync does
    images = ImageList(machine.photos)
    assert machine.scans == 3
    there = sorted(str(path) for path in machine.photos.rglob("*.jpg"))
    assert sorted(images.file(index) for index in range(len(images))) == there
    assert machine.kept() == [".lock", ".paths"]
    monkeypatch.setattr(entries, "_TICK", 3600 * 10**9)  # changed so shortly before that it could change unnoticed
    (machine.photos / "new").mkdir()
    ImageList(machine.photos)
    ImageList(machine.photos)
    assert machine.scans == 5


def test_a_list_is_read_again_when_its_size_or_time_has_changed(machine: Machine) -> None:
    listed = machine.photos / "list.txt"
    for length in (5, 7):
        listed.write_text("".join(f"{number}.jpg\n" for number in range(length)))
        assert len(ImageList(listed)) == len(ImageList(listed)) == length
        assert machine.kept() == [".lock", ".paths"]


def test_those_who_come_while_it_is_made_wait_for_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.seconds_per_image = 0.02
    lengths: list[int] = []
    written: list[Path] = []
    write = listing.write_path_table
    monkeypatch.setattr(listing, "write_path_table", lambda *a, **o: written.append(o["file"]) or write(*a, **o))
    threads = [threading.Thread(target=lambda: lengths.append(len(ImageList(machine.photos)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [9] * 4 and len(written) == 1


def test_a_killed_process_leaves_a_lock_that_opens_and_a_part_that_goes(machine: Machine) -> None:
    machine.stuck_at = 6
    process = multiprocessing.get_context("fork").Process(target=ImageList, args=(machine.photos,))
    process.start()
    machine.stuck_at = -1
    end = time.monotonic() + 30
    while ".partial" not in machine.kept() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert machine.kept() == [".lock", ".partial"]
    assert len(ImageList(machine.photos)) == 9
    assert machine.kept() == [".lock", ".paths"]


def test_tables_that_no_run_has_used_for_a_month_go(machine: Machine) -> None:
    ImageList(machine.photos)
    (table,) = machine.temporary.glob("*/*.paths")
    old = time.time() - 40 * 24 * 3600
    os.utime(table, (old, old))
    ImageList(machine.photos)
    assert time.time() - table.stat().st_mtime < 60
    index = table.with_suffix(".index")  # of shards where nothing may be written beside them
    index.mkdir()
    (index / "00000.tar.none.index").touch()
    for path in (table, index):
        os.utime(path, (old, old))
    ImageList(machine.photos, "folder")
    assert not table.exists() and not index.exists()


def test_where_files_cannot_be_locked_each_goes_on_for_itself(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table_store.fcntl, "flock", failing(95))
    assert len(ImageList(machine.photos, cache=tmp_path / "network" / "photos.paths")) == 9
    monkeypatch.setattr(table_store, "fcntl", None)
    assert len(pickle.loads(pickle.dumps(ImageList(machine.photos)))) == 9
    assert list(machine.temporary.iterdir()) == []


def test_a_cache_on_a_disk_that_is_read_only_is_used_and_a_full_disk_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ImageList(machine.photos, cache=tmp_path / "photos.paths")
    monkeypatch.setattr(os, "utime", failing(30))
    assert len(ImageList(machine.photos, cache=tmp_path / "photos.paths")) == 9 and machine.scans == 1
    monkeypatch.setattr(listing, "write_path_table", failing(28))
    with pytest.raises(DataError, match=r"cache: .*: No space left on device"):
        ImageList(machine.photos)


def test_another_users_folder_is_not_believed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    ImageList(machine.photos)
    (folder,) = machine.temporary.iterdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    folder.rename(machine.temporary / "selfsup-12345")
    with pytest.raises(DataError, match=r"cache: .*selfsup-12345.* belongs to another user"):
        ImageList(machine.photos)
