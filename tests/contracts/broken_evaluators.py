"""Evaluators and tasks that each break one rule."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from selfsup.data import Subset
from selfsup.evaluation import Representation, Result, Score, Task
from tests.contracts.rejection import Broken
from tests.evaluation.pictures import Blobs

TASK = Task("blobs", train=Blobs(40), test=Blobs(30, seed=1, prefix="test"))


class Mean:
    """Fulfills the contract: how bright the features of the test images are."""

    protocol, needs = "mean/1", frozenset({"labels"})

    def evaluate(self, representation: Representation, task: Task) -> Any:
        value = representation.features(task.parts.test).features.mean().item()
        return Result({"mean": Score(value)})


def does(act: Callable[[Representation, Task, Result], Any]) -> Callable[[], Mean]:
    """An evaluator that does something else too, or gives another result."""

    class Changed(Mean):
        def evaluate(self, representation: Representation, task: Task) -> Any:
            result = super().evaluate(representation, task)
            other = act(representation, task, result)
            return other if isinstance(other, (Result, dict)) else result

    return Changed


def gives(result: Any) -> Callable[[], Mean]:
    return does(lambda *_: result)


def has(**attributes: Any) -> Callable[[], Mean]:
    return type("Changed", (Mean,), attributes)


def _tires() -> Mean:
    calls = iter(range(100))
    return does(lambda _, __, result: Result({"mean": Score(result.scores["mean"].value / (1 + next(calls)))}))()


def _peeks(_: Any, task: Task, result: Result) -> Result:
    return Result(result.scores, chosen={"first": int(np.asarray(task.parts.test.labels)[:7].sum())})


CHANGES = "must not change the network, but changes"
EVALUATORS = [
    Broken(has(protocol="mean"), "protocol must be like 'knn/1', got 'mean'"),
    Broken(has(needs={"money"}), "needs must be of"),
    Broken(has(needs={"hierarchy"}), "the task does not fit it"),
    Broken(does(lambda shown, *_: next(shown.backbone.parameters()).data.zero_()), f"{CHANGES} its state"),
    Broken(does(lambda shown, *_: shown.backbone.train()), f"{CHANGES} its training flags"),
    Broken(does(lambda *_: torch.rand(1)), f"{CHANGES} the global random generators"),
    Broken(_tires, "must give the same scores again"),
    Broken(gives(Result({"mean": Score(0.5)})), "must look at the features"),
    Broken(does(_peeks), "must choose nothing by test labels"),
    Broken(does(lambda _, __, result: result.scores), "must return a Result, got dict"),
    Broken(gives(Result({})), "must return a score"),
    Broken(gives(Result({"mean": 0.5})), "must be a Score, got float"),  # type: ignore[dict-item]
    Broken(gives(Result({"mean": Score(50.0)})), "must be a fraction, .* got 50.0"),
    Broken(gives(Result({"mean": Score(0.5, 0.6, 0.7)})), "must lie in its interval"),
]


def _mixed(**changed: Any) -> Callable[[], Any]:
    """Parts that no Task of ours would make."""
    parts = {"train": Blobs(40), "val": Blobs(9, prefix="val"), "test": Blobs(30, prefix="test"), **changed}
    watched = {"train": parts["train"], "val": parts["val"], "test": parts.pop("seen", parts["val"])}
    watching = SimpleNamespace(parts=SimpleNamespace(**watched))
    return lambda: SimpleNamespace(parts=SimpleNamespace(**parts), watch=lambda: watching)


TASKS = [
    Broken(_mixed(test=[]), "must have test images"),
    Broken(_mixed(train=Blobs(40, num_classes=4)), "train and test have other classes"),
    Broken(
        lambda: Task("mixed", train=Blobs(40), test=Subset(Blobs(40), indices=np.arange(10))), "train and test have"
    ),
    Broken(_mixed(val=Blobs(40)), "train and val have images in common"),
    Broken(_mixed(seen=Blobs(30, prefix="test")), "watch() sees test images"),
]
