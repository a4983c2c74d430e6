"""The contracts of evaluators and tasks."""

import copy
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from selfsup.data.input_contract import InputContract
from selfsup.data.selection import Subset
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score
from selfsup.evaluation.task import Task
from selfsup.testing.contract import fits_any, listed, own_random_numbers, require
from selfsup.testing.modules import changes, snapshot

NEEDS = {"labels", "train", "hierarchy", "multi-label", "targets"}


class _SmallBackbone(nn.Sequential):
    """A convolution, batch norm and dropout: whatever an evaluator could leave behind shows in it."""

    out_dim = 16

    def __init__(self) -> None:
        pooling = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(nn.Conv2d(3, 16, 4, stride=4), nn.BatchNorm2d(16), nn.ReLU(), *pooling, nn.Dropout(0.5))


def check_evaluator(
    evaluator: Any, task: Task, *, input_contract: InputContract, unbounded: Collection[str] = ()
) -> None:
    """Check what training and evaluation ask of an evaluator.

    It names its protocol with a version and what it needs; ``evaluate`` gives a Result of finite scores, fractions
    unless named as ``unbounded``, the same ones when asked again and others for some other network. The network is
    evaluated in eval mode; its weights, statistics and flags, and the global random states, are as before. Test labels
    change no hyper-parameter.

    Args:
        evaluator: built.
        task: that it fits.
        input_contract: how the task's images are shown.
        unbounded: shell patterns for scores that are no fractions.

    Raises:
        AssertionError: naming what is broken.
    """
    protocol = getattr(evaluator, "protocol", "")
    require(bool(re.fullmatch(r"[\w.-]+/\d+", protocol)), evaluator, f"protocol must be like 'knn/1', got {protocol!r}")
    needs = frozenset(evaluator.needs)
    require(needs <= NEEDS, evaluator, f"needs must be of {sorted(NEEDS)}, got {needs}")
    require(task.fits(needs) is None, evaluator, f"the task does not fit it, {task.fits(needs)}")
    with own_random_numbers():
        network = _SmallBackbone().train()
        network[1].eval()  # mixed flags, as frozen stages have them
        before = snapshot(network)
        result = evaluator.evaluate(Representation(network, input_contract), task)
        changed = changes(before, snapshot(network))
        require(not changed, evaluator, f"must not change the network, but changes {listed(changed)}")
        _check_result(evaluator, result, unbounded)
        again = evaluator.evaluate(Representation(network, input_contract), task)
        require(_values(again) == _values(result), evaluator, "must give the same scores again")
        if "labels" in needs:
            other = evaluator.evaluate(Representation(network, input_contract), _with_shuffled_test_labels(task))
            require(other.chosen == result.chosen, evaluator, "must choose nothing by test labels")
        for _ in range(5):  # few images make few different fractions
            stranger = copy.deepcopy(network)
            for parameter in stranger.parameters():
                parameter.data = torch.randn_like(parameter)
            if _values(evaluator.evaluate(Representation(stranger, input_contract), task)) != _values(result):
                return
        require(False, evaluator, "must look at the features, but five other networks have the same scores")


def check_task(task: Task) -> None:
    """Check a task: its parts have no image in common, are of the same classes, and watching sees no test image.

    Args:
        task: with one test source.

    Raises:
        AssertionError: naming what is broken.
    """
    parts, watched = task.parts, task.watch()
    test = _names(parts.test)
    require(bool(test), task, "must have test images")
    for name, part in (("train", parts.train), ("val", parts.val)):
        if part is not None:
            require(not test & _names(part), task, f"{name} and test have images in common")
            same = part.classes is None or list(part.classes) == list(parts.test.classes)
            require(same, task, f"{name} and test have other classes")
    if parts.train is not None:
        seen = set().union(*(_names(part) for part in (watched.parts.train, watched.parts.val, watched.parts.test)))
        require(not seen & test, task, "watch() sees test images")
        require(not _names(parts.train) & _names(parts.val), task, "train and val have images in common")


def _names(source: Any) -> set[str]:
    return {source.name(index) for index in range(len(source))}


def _check_result(evaluator: Any, result: Any, unbounded: Collection[str]) -> None:
    require(isinstance(result, Result), evaluator, f"must return a Result, got {type(result).__name__}")
    require(bool(result.scores), evaluator, "must return a score")
    for name, score in result.scores.items():
        require(isinstance(score, Score), evaluator, f"{name} must be a Score, got {type(score).__name__}")
        right = np.isfinite(score.value) and (0 <= score.value <= 1 or fits_any(name, unbounded))
        require(bool(right), evaluator, f"{name} must be a fraction, or finite if unbounded, got {score.value}")
        if score.low is not None and score.high is not None:
            inside = score.low <= score.value <= score.high
            require(inside, evaluator, f"{name} must lie in its interval, got {score}")


def _values(result: Result) -> dict[str, float]:
    return {name: round(score.value, 6) for name, score in result.scores.items()}


class _Shuffled(Subset):
    """The same images with the labels of others."""

    @property
    def labels(self) -> Any:
        return np.random.default_rng(0).permutation(np.asarray(super().labels))


def _with_shuffled_test_labels(task: Task) -> Task:
    parts = task.parts
    test = _Shuffled(parts.test, indices=np.arange(len(parts.test)))
    return Task(task.name, train=parts.train, val=parts.val, test=test, metric=task.metric, hierarchy=task.hierarchy)
