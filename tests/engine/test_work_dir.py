"""A used work dir: nothing of an earlier run is lost, nothing that is not a run's is moved."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selfsup.config import load_config
from selfsup.engine.logging.environment import commit_of
from selfsup.engine.runner import Runner
from selfsup.engine.work_dir import LOCK, archive, found_before, in_use
from selfsup.errors import ConfigError, DataError, SelfsupError
from selfsup.weights.checkpoint import list_checkpoints
from tests.engine.tiny_run import losses, tiny_config


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_second_run_archives_all_of_the_first_and_can_itself_be_archived(tmp_path: Path) -> None:
    for seed in range(3):
        Runner(tiny_config(tmp_path, steps=2, seed=seed)).train()
        assert LOCK not in names(tmp_path)
        for name in ("scores.json", "views.png", "of_a_hook.txt"):
            (tmp_path / name).write_text(str(seed))
    assert len(names(tmp_path / "earlier")) == 2
    for seed, folder in enumerate(sorted((tmp_path / "earlier").iterdir())):
        assert f"seed = {seed}\n" in (folder / "config.py").read_text()
        assert (folder / "of_a_hook.txt").read_text() == (folder / "views.png").read_text() == str(seed)
        assert {"environment.json", "metrics.jsonl", "checkpoints", "backbone.safetensors"} <= names(folder)
        assert "earlier" not in names(folder)
        assert len(list(folder.rglob("rank0.log"))) == 1
    assert "seed = 2\n" in (tmp_path / "config.py").read_text()
    assert len(list(tmp_path.glob("*/rank0.log"))) == 1


def test_what_was_there_before_the_first_run_stays(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for seed in range(2):
        Runner(tiny_config(tmp_path, steps=2, seed=seed)).train()
    Runner(tiny_config(tmp_path, steps=3, seed=1), resume=True).train()
    Runner(tiny_config(tmp_path, steps=2, seed=2)).train()
    assert {"photos", "notes.txt"} <= names(tmp_path)
    assert not list((tmp_path / "earlier").rglob("notes.txt"))


def test_what_the_new_run_reads_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read: dict[str, Any] = {"dataset": {"root": "pictures/cats"}, "evaluators": [{"test": "lists/a"}]}
    for name in ("pictures", "lists", "old", "checkpoints"):
        (tmp_path / name).mkdir()
    aside = archive(".", config=read | {"load_from": "checkpoints/step_000000001.pth"})
    assert names(tmp_path) == {"pictures", "lists", "earlier"}
    assert aside is not None and names(aside) == {"old", "checkpoints"}


def test_an_empty_folder_and_one_that_is_not_there_hold_nothing_of_anybodys(tmp_path: Path) -> None:
    assert found_before(tmp_path) == found_before(tmp_path / "none") == set()
    assert archive(tmp_path) is None
    assert names(tmp_path) == set()


def test_two_runs_in_one_second_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.engine.work_dir.time.strftime", lambda form: "now")
    for _ in range(2):
        (tmp_path / "metrics.jsonl").write_text("")
        archive(tmp_path)
    assert names(tmp_path / "earlier") == {"now", "now_2"}


def test_a_run_that_cannot_start_leaves_the_earlier_one_where_it_is(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path, steps=3)).train()
    before = (tmp_path / "config.py").read_text(), (tmp_path / "environment.json").read_text()
    broken = tiny_config(tmp_path, steps=3, seed=9)
    broken["train_dataloader"]["dataset"] = {"type": "ImageList", "root": str(tmp_path / "nowhere")}
    with pytest.raises(DataError):
        Runner(broken).train()
    with pytest.raises(SelfsupError):
        Runner(tiny_config(tmp_path, steps=3, seed=9, load_from=str(tmp_path / "nowhere.pth"))).train()
    assert ((tmp_path / "config.py").read_text(), (tmp_path / "environment.json").read_text()) == before
    assert list_checkpoints(tmp_path) and "earlier" not in names(tmp_path)


def test_a_run_may_start_from_the_weights_of_the_one_it_archives(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path, steps=3)).train()
    newest = list_checkpoints(tmp_path)[-1]
    Runner(tiny_config(tmp_path, steps=2, load_from=str(newest))).train()
    assert [step for step, _ in losses(tmp_path)] == [1, 2]
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000000002.pth"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A work dir that another process is at work in."""
    folder = tmp_path_factory.mktemp("other")
    program = "import sys, time; from pathlib import Path; from selfsup.engine.work_dir import in_use\n"
    program += "with in_use(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"\n"
    yield folder
    process.kill()
    process.communicate()


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_in_a_work_dir_stops_before_it_writes_anything(other: Path, resume: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        Runner(tiny_config(other), resume=resume)
    (problem,) = caught.value.problems
    assert problem.path == "work_dir" and str(problem.got).startswith("process ")
    assert names(other) == {f"{LOCK}.1"}
    with pytest.raises(ConfigError), in_use(other):  # two that start at the same time
        pass


def test_the_config_of_a_run_reads_back(tmp_path: Path) -> None:
    options = {"train_cfg.max_steps": 1, "work_dir": str(tmp_path / "ü"), "evaluators": {}}
    small = {"train_dataloader.batch_size": 4, "train_dataloader.num_workers": 0}
    recipe = load_config("swav/swav_scenes", options | small)
    Runner(recipe, device="cpu").train()
    assert load_config(tmp_path / "ü" / "config.py") == recipe


@pytest.mark.parametrize("resume", [True, False])
def test_what_a_killed_run_left_half_written_is_swept(tmp_path: Path, resume: bool) -> None:
    Runner(tiny_config(tmp_path, steps=3)).train()
    ours = ("checkpoints/step_000000004.pth.partial", "backbone.safetensors.partial", ".views.png.partial")
    others = ("checkpoints/step_4.pth.copy.partial", "download.partial", "views.png.partial")
    for half in ours + others:
        (tmp_path / half).write_bytes(b"half")
    Runner(tiny_config(tmp_path, steps=4), resume=resume).train()
    assert not [half for half in ours if (tmp_path / half).exists()]
    (kept,) = [tmp_path] if resume else (tmp_path / "earlier").iterdir()
    assert all((kept / half).read_bytes() == b"half" for half in others)


def test_the_environment_names_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(tmp_path) == commit
    (tmp_path / "file").touch()
    subprocess.run([*git, "add", "file"], check=True)
    assert commit_of(tmp_path) == f"{commit}-dirty"
