"""Evaluators on two processes find what they find on one."""

from typing import Any

import pytest

from selfsup.data import Hierarchy
from selfsup.evaluation import (
    SVM,
    ClassSubset,
    Corruptions,
    Fusion,
    Granularity,
    RawPixels,
    Representation,
    Retrieval,
    Task,
)
from tests.dist.two_processes import run_in_processes
from tests.evaluation.pictures import SMALL, Blobs

pytestmark = pytest.mark.dist

KNN = {"type": "KNN", "k": 5}


def found() -> dict[str, dict[str, Any]]:
    tree = Hierarchy(("kind",), {f"class {number}": (str(number // 2),) for number in range(3)})
    task = Task(train=Blobs(61), test=Blobs(31, seed=1, prefix="test"), hierarchy=tree)
    shown = Fusion(Representation(RawPixels(2), SMALL), Representation(RawPixels(4), SMALL), scaling="normalize")
    evaluators: dict[str, Any] = {
        "svm": SVM((0.1, 1.0)),
        "few": SVM((0.1, 1.0), shots=(2,)),
        "retrieval": Retrieval(),
        "levels": Granularity(probe=KNN),
        "worse": Corruptions(["contrast", "blur"], severities=(1, 5), probe=KNN),
        "subset": ClassSubset(probe=KNN),
    }
    results = {name: each.evaluate(shown, task) for name, each in evaluators.items()}
    return {name: {key: str(score) for key, score in result.scores.items()} for name, result in results.items()}


def test_scores_are_those_of_one_process_on_each() -> None:
    assert run_in_processes(found) == [found()] * 2
