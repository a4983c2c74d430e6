"""The online linear head, in runs of its own."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfsup.engine.hooks.online_head import OnlineHeadHook
from selfsup.engine.logging.metrics import read_metrics
from tests.engine.tiny_run import tiny_config, trained


def test_it_measures_every_so_often_and_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    hook = {"type": "OnlineHeadHook", "every_steps": 2}
    states = []
    for name, hooks in (("with", [hook]), ("without", [])):
        runner = trained(tiny_config(tmp_path / name, steps=4, custom_hooks=hooks))
        states.append(runner.method.state_dict())
        assert not runner.method.representation._forward_hooks
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    lines = [line for line in read_metrics(tmp_path / "with" / "metrics.jsonl") if "online_head/top1" in line]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(0 <= line["online_head/top1"] <= 1 and line["online_head/loss"] > 0 for line in lines)


def test_it_learns_what_a_linear_classifier_can() -> None:
    hook = OnlineHeadHook()
    hook._classes = 3
    generator = torch.Generator().manual_seed(0)
    for step in range(300):
        labels = torch.arange(30) % 3
        features = 50 * (torch.nn.functional.one_hot(labels, 3) + 0.2 * torch.randn(30, 3, generator=generator)) + 100
        if step == 250:
            hook._sums.zero_()
        hook._learn(features, labels, lr=1.0)
    count, right, _ = hook._sums.tolist()
    assert count == 50 * 30 and right / count > 0.95


def test_of_each_micro_batch_the_first_call_is_used_and_labels_follow_the_views() -> None:
    hook = OnlineHeadHook()
    hook._labels = np.array([1, 0, -1, 2])
    calls = ((4, 1.0), (2, 9.0), (6, 2.0), (3, 9.0))
    hook._features = [torch.full((rows, 2), value) for rows, value in calls]
    features, labels = hook._batch([{"index": torch.tensor([1, 0])}, {"index": torch.tensor([3, 2, 1])}])
    assert features[:, 0].tolist() == [1.0] * 4 + [2.0] * 6
    assert labels.tolist() == [0, 1, 0, 1, 2, -1, 0, 2, -1, 0]
    hook._features = [torch.ones(5, 2)]
    assert hook._batch([{"index": torch.tensor([1, 0])}])[0] is None


def test_images_without_labels_leave_it_out(caplog: pytest.LogCaptureFixture) -> None:
    network = torch.nn.Linear(2, 2)
    method, logger = SimpleNamespace(representation=network), logging.getLogger("online")
    images = SimpleNamespace(labels=None, classes=None)
    with caplog.at_level(logging.INFO):
        OnlineHeadHook().before_train(SimpleNamespace(train_images=images, method=method, logger=logger, iter=0))
    assert "left out" in caplog.text and not network._forward_hooks
