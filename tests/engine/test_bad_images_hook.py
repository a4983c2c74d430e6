import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.hooks.bad_images import BadImagesHook
from selfsup.errors import DataError
from selfsup.ops.dist import rank
from tests.dist.two_processes import run_in_processes

BATCH = 100


class Run:
    """Only what the hook looks at: how many images there are, and which step it is."""

    def __init__(self, work_dir: Path, *, total: int = 10**9) -> None:
        self.work_dir, self.iter = str(work_dir), 0
        self.train_images = range(total)
        self.logger = logging.getLogger("bad images")
        self.hook = BadImagesHook()

    def step(self, *bad: tuple[int, str, str]) -> None:
        batch: dict[str, Any] = {"index": torch.zeros(BATCH), "bad": list(bad)}
        self.hook.after_train_iter(self, 0, data_batch=[batch])
        self.iter += 1

    def lines(self) -> list[str]:
        path = Path(self.work_dir, "bad_images.txt")
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def image(index: int) -> tuple[int, str, str]:
    return index, f"photos/{index}.jpg", "cut\noff"


def test_each_file_is_named_once_with_reason_and_index(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step(image(999_999_999), image(5))
    run.step(image(5))
    run.step((7, "photos/tab\there\nné.jpg", "broken"))
    assert run.lines() == [
        "photos/999999999.jpg\tcut off\t999999999",
        "photos/5.jpg\tcut off\t5",
        r"photos/tab\x09here\x0ané.jpg" + "\tbroken\t7",
    ]


def test_a_resumed_run_knows_what_was_found_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Run(tmp_path).step(image(3), image(8))
    run = Run(tmp_path)
    run.hook.before_train(run)
    run.step(image(8), image(4))
    assert [line.split("\t")[2] for line in run.lines()] == ["3", "8", "4"]
    run.hook.after_train(run)
    assert "could not be decoded: 3" in caplog.text


def test_the_share_is_of_the_images_seen_not_of_all(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(DataError) as raised:
        for step in range(1000):
            run.step(*(image(20 * step + number) for number in range(5)))  # 5 %
    assert run.iter == 20  # the 101st of them: a hundred may be among the first 10,000
    (problem,) = raised.value.problems
    assert problem.path == "train_dataloader.max_bad_share"
    assert problem.message.startswith("105 of the 2,100 images seen so far could not be decoded, more than the allowed")


def test_half_the_allowed_share_never_stops_a_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in range(1000):
        run.step(*[image(step)] * (step % 2))
    assert len(run.lines()) == 500


def test_a_single_bad_file_never_stops_a_run_and_two_of_few_do(tmp_path: Path) -> None:
    run = Run(tmp_path, total=150)
    run.hook.max_share = 0.0
    for _ in range(50):
        run.step(image(2))
    with pytest.raises(DataError, match="2 of the 150 images seen so far"):
        run.step(image(3))
    run.hook.after_train(run)  # a run that is over is not stopped
    assert len(run.lines()) == 2


def two_halves(work_dir: str) -> tuple[int, str]:
    run = Run(Path(work_dir), total=400)
    run.hook.before_train(run)
    try:
        for step in range(40):
            run.step(*[image(100 * rank() + step)] * (step < 4))
    except DataError as error:
        return run.iter, error.problems[0].message.split(",")[0]
    return run.iter, ""


@pytest.mark.dist
def test_two_processes_stop_together(tmp_path: Path) -> None:
    (tmp_path / "bad_images.txt").write_text("photos/300.jpg\tcut off\t300\n", encoding="utf-8")
    stopped = run_in_processes(two_halves, str(tmp_path))
    assert stopped == [(19, "9 of the 400 images seen so far could not be decoded")] * 2
    lines = (tmp_path / "bad_images.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(int(line.split("\t")[2]) for line in lines) == [0, 1, 2, 3, 100, 101, 102, 103, 300]
