"""A transfer killed with ``kill -9`` goes on where it was with the same call, and comes to what it would have."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.hooks.best_step import read_scores
from selfsup.engine.runner import Runner
from selfsup.methods import Supervised
from selfsup.transfer import FineTune, Labelled, Start, Transferred, transfer
from selfsup.weights.read import read_weights
from tests.transfer.small import write_images, write_start

KILLED_AT = {
    "in training": (Supervised, "loss", 7),  # of eight steps
    "in the evaluation of a step": (Runner, "save", 3),
    "between training and evaluation": (transfer, "_finished", 1),
    "in the evaluation": (transfer, "evaluate_rows", 1),
    "once the row is there": (transfer, "save_classifier", 1),
}
"""What is called so many times, and then no more."""


def run(folder: Path, work_dir: str) -> Transferred:
    tuned = FineTune(precision="fp32", num_workers=0, steps=8, batch_size=8, drop_path=0.2)
    begun, data = Start.open(folder / "tiny.safetensors"), Labelled.of(folder / "colors")
    recipe = tuned.recipe(begun, data)
    hooks = {**recipe.default_hooks, "checkpoint": {"type": "CheckpointHook", "every_steps": 2}}
    saved = replace(recipe, default_hooks=hooks)
    tuned.recipe = lambda start, data: saved  # type: ignore[method-assign]
    return tuned.run(begun, data, work_dir=folder / work_dir)


def killed(folder: Path, work_dir: str, point: str) -> None:
    """The same in a process that ends itself."""
    owner, name, times = KILLED_AT[point]
    original, called = getattr(owner, name), [0]

    def then_no_more(*arguments: Any, **options: Any) -> Any:
        called[0] += 1
        if called[0] == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, then_no_more)
    torch.set_num_threads(1)
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
def test_the_same_call_goes_on_and_writes_no_row_twice(point: str, folder: Path) -> None:
    work_dir = point.replace(" ", "_")
    child = multiprocessing.get_context("spawn").Process(target=killed, args=(folder, work_dir, point))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
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
