"""The kits of evaluators and tasks accept what fulfills the contract, and reject what breaks it, naming it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.data import Subset
from selfsup.evaluation import Representation, Result, Score, Task
from selfsup.testing import check_evaluator, check_task
from tests.evaluation.pictures import SMALL, Blobs

TASK = Task("blobs", train=Blobs(40), test=Blobs(30, seed=1, prefix="test"))


class Mean:
    """Fulfills the contract: how bright the features of the test images are."""

    protocol, needs = "mean/1", frozenset({"labels"})

    def evaluate(self, representation: Representation, task: Task) -> Result:
        value = representation.features(task.parts.test).features.mean().item()
        return Result({"mean": Score(value)})


def changed(change: Callable[[Representation, Task, Result], Any]) -> Any:
    """An evaluator that does something else too."""

    class Broken(Mean):
        def evaluate(self, representation: Representation, task: Task) -> Any:
            result = super().evaluate(representation, task)
            return change(representation, task, result) or result

    return Broken()


def zeroed(representation: Representation, *_: Any) -> None:
    next(representation.backbone.parameters()).data.zero_()


def in_training(representation: Representation, *_: Any) -> None:
    representation.backbone.train()


def drawing(*_: Any) -> None:
    torch.rand(1)


def tiring() -> Any:
    calls = iter(range(100))
    return changed(lambda _, __, result: Result({"mean": Score(result.scores["mean"].value / (1 + next(calls)))}))


def peeking(_: Any, task: Task, result: Result) -> Result:
    return Result(result.scores, chosen={"first": int(np.asarray(task.parts.test.labels)[:7].sum())})


class Unversioned(Mean):
    protocol = "mean"


class Needy(Mean):
    needs = frozenset({"money"})


BROKEN = {
    "protocol": Unversioned(),
    "needs": Needy(),
    "must not change the network": changed(zeroed),
    "must keep training flags": changed(in_training),
    "must not draw": changed(drawing),
    "must give the same scores again": tiring(),
    "must look at the features": changed(lambda *_: Result({"mean": Score(0.5)})),
    "must choose nothing by test labels": changed(peeking),
    "must return a Result": changed(lambda _, __, result: result.scores),
    "must return a score": changed(lambda *_: Result({})),
    "must be a Score": changed(lambda *_: Result({"mean": 0.5})),  # type: ignore[dict-item]
    "must be finite": changed(lambda *_: Result({"mean": Score(float("nan"))})),
    "must be a fraction": changed(lambda *_: Result({"mean": Score(50.0)})),
    "must lie in its interval": changed(lambda *_: Result({"mean": Score(0.5, 0.6, 0.7)})),
}


def test_what_fulfills_the_contract_is_accepted() -> None:
    check_evaluator(Mean(), TASK, input_contract=SMALL)
    check_task(TASK)


@pytest.mark.parametrize("said", BROKEN)
def test_an_evaluator_that_breaks_it_is_rejected(said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_evaluator(BROKEN[said], TASK, input_contract=SMALL)


def test_a_task_whose_parts_mix_is_rejected() -> None:
    blobs = Blobs(40)
    overlapping = Task("mixed", train=blobs, test=Subset(blobs, indices=np.arange(10)))
    with pytest.raises(AssertionError, match="images in common"):
        check_task(overlapping)
