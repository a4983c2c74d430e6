from pathlib import Path
from types import SimpleNamespace

import pytest

from selfsup.planning import doctor


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SECONDS", 0.02)
    monkeypatch.setattr(doctor, "_FILE", 1 << 16)


@pytest.mark.usefixtures("quick")
def test_a_machine_is_examined_and_nothing_stays_behind(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in doctor.examine(tmp_path)}
    assert {"versions", "precision", "processors", "decoding and views", "disk speed", "open files"} <= found.keys()
    assert found["decoding and views"].limits and found["disk speed"].limits
    assert "all-reduce" not in found
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("quick")
def test_too_little_of_a_thing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 18))
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (1024, 4096))
    found = {finding.what: finding.limits for finding in doctor.examine(tmp_path)}
    assert all(found[what] for what in ("shared memory", "disk", "open files"))
