"""Real cells under kill -9: what is left of a study is finished by whoever comes next, to the same scores."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfsup.studies import load_study
from selfsup.studies.cells import DONE, state_of
from tests.studies.tiny import TINY

pytestmark = pytest.mark.slow
KILLS = 4 if os.environ.get("CI") else 20
WORKER = """
import sys
from pathlib import Path
from selfsup.studies import Runner, load_study

if __name__ == "__main__":
    study = load_study(sys.argv[1])
    Path(sys.argv[3]).touch()
    Runner(study, Path(sys.argv[2]), wait=0.1, say=lambda line: None).run()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kills")
    (root / "tiny.py").write_text(
        TINY.replace("COUNT", "50").replace('"train_cfg.max_steps": 6', '"train_cfg.max_steps": 20')
    )
    (root / "work.py").write_text(WORKER)
    return root


def begin(folder: Path, study: Path, config: str = "tiny.py") -> subprocess.Popen:
    """A process at work on a study, which it has loaded."""
    ready = folder / f"ready_{time.monotonic_ns()}"
    command = [sys.executable, str(folder / "work.py"), str(folder / config), str(study), str(ready)]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, start_new_session=True)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def scores(folder: Path, study: Path) -> dict[str, dict]:
    files = {cell.name: cell.folder(study) / DONE for cell in load_study(folder / "tiny.py").cells()}
    return {name: json.loads(file.read_text())["kept"].get("scores", {}) for name, file in files.items()}


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, dict]:
    assert begin(folder, folder / "undisturbed").wait() == 0
    return scores(folder, folder / "undisturbed")


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_lose_nothing_do_nothing_twice_and_change_no_score(
    folder: Path, undisturbed: dict[str, dict], workers: int
) -> None:
    study, rng = folder / f"killed_{workers}", random.Random(workers)
    written: dict[Path, int] = {}
    running = [begin(folder, study) for _ in range(workers)]
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.0, 4.0))
        victim = rng.randrange(workers)
        os.kill(running[victim].pid, signal.SIGKILL)
        running[victim].wait()
        for done in study.glob(f"cells/*/{DONE}"):
            assert written.setdefault(done, done.stat().st_mtime_ns) == done.stat().st_mtime_ns
        running[victim] = begin(folder, study)
    for process in running:
        assert process.wait() == 0
    assert all(done.stat().st_mtime_ns == when for done, when in written.items())
    assert scores(folder, study) == undisturbed


def test_ending_the_whole_group_of_processes_is_no_failure_of_a_cell(folder: Path) -> None:
    study = folder / "ended"
    (folder / "long.py").write_text((folder / "tiny.py").read_text().replace('max_steps": 20', 'max_steps": 20_000'))
    process = begin(folder, study, "long.py")
    while not list(study.glob("cells/pretrain*/run/checkpoints/*")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() != 0
    (cell,) = study.glob("cells/*")
    assert not (cell / "error.txt").exists() and state_of(cell) == "pending"
