"""Evaluators on two processes find what they find on one."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.backbones import ResNet
from selfsup.data import Hierarchy, InputContract
from selfsup.evaluation import (
    KNN,
    SVM,
    ClassSubset,
    Corruptions,
    Fusion,
    Granularity,
    RawPixels,
    Representation,
    Retrieval,
    Task,
    read_rows,
)
from selfsup.evaluation.protocols.knn import Neighbors
from selfsup.ops.dist import rank
from selfsup.weights.card import weights_card
from selfsup.weights.write import write_weights
from tests.cli.test_evaluate import write_images
from tests.dist.two_processes import run_in_processes
from tests.evaluation.pictures import SMALL, Blobs

pytestmark = pytest.mark.dist

NEAREST = {"type": "KNN", "k": 5}


def found() -> dict[str, dict[str, Any]]:
    tree = Hierarchy(("kind",), {f"class {number}": (str(number // 2),) for number in range(3)})
    task = Task(train=Blobs(61), test=Blobs(31, seed=1, prefix="test"), hierarchy=tree)
    shown = Fusion(Representation(RawPixels(2), SMALL), Representation(RawPixels(4), SMALL), scaling="normalize")
    evaluators: dict[str, Any] = {
        "svm": SVM((0.1, 1.0)),
        "few": SVM((0.1, 1.0), shots=(2,)),
        "retrieval": Retrieval(),
        "knn": KNN(5),
        "levels": Granularity(probe=NEAREST),
        "worse": Corruptions(["contrast", "blur"], severities=(1, 5), probe=NEAREST),
        "subset": ClassSubset(probe=NEAREST),
    }
    results = {name: each.evaluate(shown, task) for name, each in evaluators.items()}
    return {name: {key: str(score) for key, score in result.scores.items()} for name, result in results.items()}


def test_scores_are_those_of_one_process_on_each() -> None:
    assert run_in_processes(found) == [found()] * 2


def answered(failing: int | None = None) -> tuple[list[int], str]:
    """How many test images this process has answered for, and the error, where one process fails in the midst of it."""
    counts: list[int] = []
    answer = Neighbors.__call__

    def counted(neighbors: Neighbors, features: torch.Tensor) -> torch.Tensor:
        if rank() == failing:
            raise MemoryError("no more")
        counts.append(len(features))
        return answer(neighbors, features)

    Neighbors.__call__ = counted  # type: ignore[method-assign]  # in a process of the test's own
    task = Task(train=Blobs(61), test=Blobs(31, seed=1, prefix="test"))
    started = time.monotonic()
    try:
        KNN(5).evaluate(Representation(RawPixels(2), SMALL), task)
    except (RuntimeError, MemoryError) as error:
        assert time.monotonic() - started < 20
        return counts, str(error)
    return counts, ""


def test_each_process_answers_its_share_of_the_images() -> None:
    assert run_in_processes(answered) == [([16], ""), ([15], "")]


def test_an_error_of_one_process_ends_both() -> None:
    assert run_in_processes(answered, 1) == [([16], "process 1: MemoryError: no more"), ([], "no more")]


def test_the_command_on_two_processes_writes_each_row_once(tmp_path: Path) -> None:
    torch.manual_seed(7)
    backbone = ResNet(depth=18, width=0.125, stem="cifar")
    contract = InputContract(size=24, resize="none")
    about = {"type": "ResNet", "depth": 18, "width": 0.125, "stem": "cifar"}
    card = weights_card(about, backbone, input_contract=contract, recipe={}, step=None, license="yours")
    write_weights(backbone.state_dict(), tmp_path / "net.pth", card)
    write_images(tmp_path / "train", 12, seed=0)
    write_images(tmp_path / "test", 6, seed=1)
    words = ["-m", "selfsup", "evaluate", "net.pth", "--data", "train", "--test", "test", "--device", "cpu"]
    words += ["--protocols", "knn,linear"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for out, before in (("one", []), ("two", launch)):
        done = subprocess.run(
            [sys.executable, *before, *words, "--work-dir", out], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("rows in") == 1
    one, two = (read_rows(tmp_path / out / "results.jsonl") for out in ("one", "two"))
    assert len(two) == 3 * 2 and {row.identity for row in one} == {row.identity for row in two}
    assert [row.scores["top1"] for row in one] == [row.scores["top1"] for row in two]
