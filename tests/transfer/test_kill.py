"""``selfsup transfer --budget`` killed with ``kill -9`` goes on where it was by the same command, and comes to what it
would have."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.cli import main
from selfsup.engine.hooks import best_step
from selfsup.engine.hooks.best_step import read_scores
from selfsup.methods import Supervised
from selfsup.planning import budget
from selfsup.transfer import choose, transfer
from selfsup.weights.read import read_weights
from tests.transfer.small import write_images, write_start

STEPS, LATE = 120, 70
COMMAND = ["transfer", "tiny.safetensors", "--data", "colors", "--budget", "1m", "--work-dir"]

KILLED_AT: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "in training": (Supervised, "after_step", lambda method, progress: progress.step >= LATE),
    "in the evaluation of a step": (
        best_step,
        "write_record",
        lambda path, text: max(map(int, json.loads(text))) > LATE,
    ),
    "between training and evaluation": (transfer, "_finished", lambda *arguments, **options: True),
    "in the evaluation": (transfer, "evaluate_rows", lambda *arguments, **options: True),
    "once the row is there": (transfer, "save_classifier", lambda *arguments, **options: True),
}
"""Before a call of which the process ends itself, once the run itself, and no rehearsal, has saved."""


def run(folder: Path, work_dir: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.set_num_threads(1)  # in all processes alike
        patch.setattr(budget, "SHORTEST", 0.1)
        patch.setattr(budget, "SHARE", 0.0)
        patch.setattr(budget, "CHECKPOINT_SECONDS", 0.0)  # as often as steps allow
        patch.setattr(choose, "STEPS", (STEPS, STEPS))
        assert main([*COMMAND, work_dir]) == 0


def killed(folder: Path, work_dir: str, point: str) -> None:
    owner, name, is_there = KILLED_AT[point]
    original = getattr(owner, name)

    def then_no_more(*arguments: Any, **options: Any) -> Any:
        if is_there(*arguments, **options) and any(Path(work_dir).glob("checkpoints/*")):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, then_no_more)
    run(folder, work_dir)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_images(folder / "colors")
    write_start(folder / "tiny.safetensors")
    run(folder, "whole")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED_AT)
def test_the_same_command_goes_on_and_writes_no_row_twice(
    point: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_dir = point.replace(" ", "_")
    child = multiprocessing.get_context("spawn").Process(target=killed, args=(folder, work_dir, point))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    steps = sorted(path.name for path in Path(folder, work_dir, "checkpoints").iterdir())
    assert steps, "there is something to go on from"
    monkeypatch.setattr(choose, "_seconds_per_image", lambda *arguments, **options: (1e6, 16))  # the machine is busy
    for _ in range(2):
        run(folder, work_dir)
    assert not (folder / work_dir / "earlier").exists()
    whole, cut = folder / "whole", folder / work_dir
    lines = [(each / "results.jsonl").read_text().splitlines() for each in (whole, cut)]
    assert len(lines[0]) == len(lines[1]) == 1
    assert lines[0][0][:50] == lines[1][0][:50], "the identity, and so the weights"
    one, other = (read_weights(each / "model.safetensors") for each in (whole, cut))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert read_scores(whole) == read_scores(cut)
