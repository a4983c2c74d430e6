"""The contracts of evaluators and tasks."""

import copy
import re
from collections.abc import Collection
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.data.input_contract import InputContract
from selfsup.data.selection import Subset
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score
from selfsup.evaluation.task import Task
from selfsup.ops.random_state import isolated_random_state, random_state

NEEDS = {"labels", "train", "hierarchy", "multi-label"}
CPU = torch.device("cpu")


class SmallBackbone(nn.Module):
    """A convolution, batch norm and dropout: whatever an evaluator could leave behind shows in it."""

    def __init__(self, out_dim: int = 16) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, out_dim, 4, stride=4)
        self.bn = nn.BatchNorm2d(out_dim)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, out_dim)."""
        return self.dropout(self.bn(self.conv(images)).relu().mean((2, 3)))


def check_evaluator(
    evaluator: Any, task: Task, *, input_contract: InputContract, unbounded: Collection[str] = (), seed: int = 0
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
        seed: of the untrained network that is evaluated.

    Raises:
        AssertionError: naming what is broken.
    """
    name = type(evaluator).__name__
    assert re.fullmatch(r"[\w.-]+/\d+", getattr(evaluator, "protocol", "")), f"{name}.protocol: must be like 'knn/1'"
    assert set(evaluator.needs) <= NEEDS, f"{name}.needs: must be of {sorted(NEEDS)}, got {set(evaluator.needs)}"
    assert task.fits(evaluator.needs) is None, f"{name}: the task does not fit it, {task.fits(evaluator.needs)}"
    with isolated_random_state(CPU, seed=seed):
        network = SmallBackbone().train()
        network.bn.eval()  # mixed flags, as frozen stages have them
        before, flags = copy.deepcopy(network.state_dict()), [part.training for part in network.modules()]
        drawn = _digest_of_random_state()
        result = evaluator.evaluate(Representation(network, input_contract), task)
        assert _digest_of_random_state() == drawn, f"{name}: must not draw from a global random generator"
        _check_result(name, result, unbounded)
        assert [part.training for part in network.modules()] == flags, f"{name}: must keep training flags"
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[key]), f"{name}: must not change the network, but changes {key}"
        again = evaluator.evaluate(Representation(network, input_contract), task)
        assert _values(again) == _values(result), f"{name}: must give the same scores again"
        if evaluator.needs & {"labels"}:
            other = evaluator.evaluate(Representation(network, input_contract), _with_shuffled_test_labels(task))
            assert other.chosen == result.chosen, f"{name}: must choose nothing by test labels"
        for _ in range(5):  # few images make few different fractions
            stranger = copy.deepcopy(network)
            for parameter in stranger.parameters():
                parameter.data = torch.randn_like(parameter)
            if _values(evaluator.evaluate(Representation(stranger, input_contract), task)) != _values(result):
                return
        raise AssertionError(f"{name}: must look at the features, but five other networks have the same scores")


def check_task(task: Task) -> None:
    """Check a task: its parts have no image in common, are of the same classes, and watching sees no test image.

    Args:
        task: with one test source.

    Raises:
        AssertionError: naming what is broken.
    """
    parts, watched = task.parts, task.watch()
    test = _names(parts.test)
    assert test, f"task {task.name}: must have test images"
    for name in ("train", "val"):
        if (part := getattr(parts, name)) is not None:
            assert not test & _names(part), f"task {task.name}: {name} and test have images in common"
            same = part.classes is None or list(part.classes) == list(parts.test.classes)
            assert same, f"task {task.name}: {name} and test have other classes"
    if parts.train is not None:
        seen = set().union(*(_names(part) for part in (watched.parts.train, watched.parts.val, watched.parts.test)))
        assert not seen & test, f"task {task.name}: watch() sees test images"
        assert not _names(parts.train) & _names(parts.val), f"task {task.name}: train and val have images in common"


def _names(source: Any) -> set[str]:
    return {source.name(index) for index in range(len(source))}


def _check_result(name: str, result: Any, unbounded: Collection[str]) -> None:
    assert isinstance(result, Result), f"{name}.evaluate: must return a Result, got {type(result).__name__}"
    assert result.scores, f"{name}.evaluate: must return a score"
    for key, score in result.scores.items():
        assert isinstance(score, Score), f"{name}: {key} must be a Score, got {type(score).__name__}"
        assert np.isfinite(score.value), f"{name}: {key} must be finite, got {score.value}"
        if not any(fnmatch(key, pattern) for pattern in unbounded):
            assert 0 <= score.value <= 1, f"{name}: {key} must be a fraction, got {score.value}; or be unbounded"
        if score.low is not None and score.high is not None:
            assert score.low <= score.value <= score.high, f"{name}: {key} must lie in its interval, got {score}"


def _values(result: Result) -> dict[str, float]:
    return {name: round(score.value, 6) for name, score in result.scores.items()}


def _digest_of_random_state() -> str:
    return repr([(key, np.asarray(value, dtype=object).tolist()) for key, value in random_state(CPU).items()])


class _Shuffled(Subset):
    """The same images with the labels of others."""

    @property
    def labels(self) -> Any:
        return np.random.default_rng(0).permutation(np.asarray(super().labels))


def _with_shuffled_test_labels(task: Task) -> Task:
    parts = task.parts
    test = _Shuffled(parts.test, indices=np.arange(len(parts.test)))
    return Task(task.name, train=parts.train, val=parts.val, test=test, metric=task.metric, hierarchy=task.hierarchy)
