import dataclasses
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from selfsup.errors import ConfigError
from selfsup.ops.locks import _birth, _namespace
from selfsup.studies import Cell, Runner, Study
from selfsup.studies.cells import ABOUT, DONE, ERROR, LEASE, state_of
from selfsup.studies.runner import check_study, finished
from selfsup.studies.works import Pretrain
from tests.studies.works import STUDY, Broken, Square, Sum, squares


def quiet(study: Study, root: Path, **options: object) -> Runner:
    return Runner(study, root, say=lambda line: None, wait=0.01, **options)  # type: ignore[arg-type]


def scores(root: Path) -> dict[str, float]:
    return {cell.name: output.kept["scores"]["value"] for cell, output in finished(STUDY, root)}


EXPECTED = {f"square={n}/seed={s}": (n + 10 * s) ** 2 for s in range(3) for n in range(4)} | {
    f"sum/seed={s}": sum((n + 10 * s) ** 2 for n in range(4)) for s in range(3)
}


def test_all_cells_of_a_seed_come_before_the_next_and_needed_ones_first(tmp_path: Path) -> None:
    said: list[str] = []
    Runner(STUDY, tmp_path, say=said.append).run()  # type: ignore[arg-type]
    order = [line.partition(": ")[2] for line in said]
    assert order == [name for s in range(3) for name in [*(f"square={n}/seed={s}" for n in range(4)), f"sum/seed={s}"]]
    assert scores(tmp_path) == EXPECTED


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    quiet(dataclasses.replace(STUDY, seeds=(0,)), tmp_path).run()
    said: list[str] = []
    assert set(Runner(STUDY, tmp_path, say=said.append).run().values()) == {"done"}  # type: ignore[arg-type]
    assert len(said) == 10
    assert all((cell.folder(tmp_path) / "begun").read_text() == "x" for cell in STUDY.cells() if "square" in cell.name)


def work_on(root: Path) -> None:
    quiet(STUDY, root).run()


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_at_random_moments_lose_nothing_and_do_nothing_twice(tmp_path: Path, workers: int) -> None:
    context, rng = multiprocessing.get_context("fork"), random.Random(workers)
    for _ in range(20):
        working = [context.Process(target=work_on, args=(tmp_path,)) for _ in range(workers)]
        for process in working:
            process.start()
        time.sleep(rng.uniform(0.005, 0.06))
        os.kill(rng.choice(working).pid or 0, signal.SIGKILL)
        for process in working[1:]:
            process.join(0.05)
        for process in working:
            process.kill()
            process.join()
    quiet(STUDY, tmp_path).run()
    assert scores(tmp_path) == EXPECTED
    ended = [cell.folder(tmp_path) / "ended" for cell in STUDY.cells() if "square" in cell.name]
    begun = [path.with_name("begun") for path in ended]
    # a cell killed between its end and its record is begun again from its last step; none is begun once it is done
    assert sum(len(path.read_text()) for path in begun) <= len(begun) + 20 * workers
    assert all(path.read_text() for path in ended)


def test_states_are_told_from_what_is_on_disk(tmp_path: Path) -> None:
    cells = [Cell(name, Square(number)) for number, name in enumerate(("a", "b", "c", "d", "e"))]
    folders = [cell.folder(tmp_path) for cell in cells]
    for folder in folders[1:]:
        folder.mkdir(parents=True)
    (folders[1] / DONE).write_text("{}")
    (folders[2] / ERROR).write_text("why")
    (folders[3] / f"{LEASE}.1").write_text(f"{os.uname().nodename} 1 0 elsewhere")
    own = folders[4] / f"{LEASE}.1"
    own.write_text(f"{os.uname().nodename} {os.getpid()} 0 {_namespace()}")
    assert [state_of(folder) for folder in folders] == ["pending", "done", "failed", "running", "lost"]
    own.write_text(f"{os.uname().nodename} {os.getpid()} {_birth(str(os.getpid()))} {_namespace()}")
    assert state_of(folders[4]) == "running"


def test_a_failure_is_told_at_once_and_stops_only_what_needs_it(tmp_path: Path) -> None:
    broken = Cell("broken", Broken("the disk is full"))
    study = Study("s", [lambda seed: [Cell("needs it", Sum(), {"x": broken}), *squares(0, 2)]], seeds=(0,))
    said: list[str] = []
    states = Runner(study, tmp_path, say=said.append).run()  # type: ignore[arg-type]
    assert states[broken.identity] == "failed"
    assert sorted(states.values()) == ["done", "done", "done", "failed", "pending"]
    assert any("the disk is full" in line for line in said)
    first = Runner(study, tmp_path / "2", say=lambda line: None, fail_fast=True).run()
    assert sorted(first.values()) == ["failed", "pending", "pending", "pending", "pending"]
    said.clear()
    Runner(study, tmp_path, say=said.append).run()  # type: ignore[arg-type]
    assert not said
    Runner(study, tmp_path, say=said.append, retry=True).run()  # type: ignore[arg-type]
    assert any("broken" in line for line in said)


def test_a_budget_begins_nothing_that_would_end_behind_it(tmp_path: Path) -> None:
    states = quiet(STUDY, tmp_path, seconds=100.0, predict=lambda cell: 1000.0 if cell.seed else 0.01).run()
    assert sorted(states.values()) == ["done"] * 5 + ["pending"] * 10


def test_the_identity_is_what_can_change_the_result() -> None:
    one, two = Cell("a", Square(3)), Cell("b", Square(3), factors={"x": 1}, seed=4)
    assert one.identity == two.identity
    assert one.identity != Cell("a", Square(4)).identity
    assert Cell("s", Sum(), {"x": one}).identity != Cell("s", Sum(), {"x": Cell("a", Square(4))}).identity
    other_name = Cell("other name", Square(3))
    shared = Study("s", [lambda seed: [one, Cell("s", Sum(), {"x": other_name})]], seeds=(0,))
    assert [cell.name for cell in shared.cells()] == ["a", "s"] and shared.cells()[1].needs["x"].name == "a"
    twice = Study("s", [lambda seed: [one], lambda seed: [Cell("a", Square(3))]], seeds=(0,))
    assert len(twice.cells()) == 1
    with pytest.raises(ConfigError):
        Study("s", [lambda seed: [one, Cell("a", Square(5))]], seeds=(0,)).cells()


def test_a_folder_holds_one_study(tmp_path: Path) -> None:
    quiet(STUDY, tmp_path).run()
    with pytest.raises(ConfigError) as caught:
        quiet(dataclasses.replace(STUDY, name="other"), tmp_path).run()
    assert caught.value.problems[0].got == "squares"


def test_a_folder_holds_a_study_of_one_set_of_images(tmp_path: Path) -> None:
    one, other = (dataclasses.replace(STUDY, images=f"/{place}/photos") for place in ("a", "b"))
    check_study(tmp_path, one)
    check_study(tmp_path, one)
    with pytest.raises(ConfigError, match="other images") as caught:
        check_study(tmp_path, other)
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("--work-dir", "/a/photos")


def test_trainings_of_another_number_of_processes_are_said(tmp_path: Path) -> None:
    cell = Cell("trained", Pretrain({}))
    cell.folder(tmp_path).mkdir(parents=True)
    (cell.folder(tmp_path) / ABOUT).write_text('{"processes": 32}')
    (cell.folder(tmp_path) / DONE).write_text('{"identity": "", "seconds": 1, "kept": {}}')
    said: list[str] = []
    Runner(Study("s", [lambda seed: [cell]], seeds=(0,)), tmp_path, say=said.append).run()
    assert len(said) == 1 and "1 trainings" in said[0] and "trained" in said[0]
