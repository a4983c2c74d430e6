"""What evaluators judge is never trained on."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from selfsup.engine.evaluate import evaluate
from selfsup.engine.metrics_log import read_metrics
from selfsup.engine.runner import Runner
from selfsup.registry import DATASETS, EVALUATORS
from tests.engine.tiny_run import tiny_config

COUNT = 64


@DATASETS.register_module()
class Coins:
    """Noise whose labels are drawn by coin: whoever has not seen an image cannot know its label."""

    classes = ("heads", "tails")

    def __init__(self, *, labelled: bool = True) -> None:
        self.labels = np.random.default_rng(0).integers(0, 2, COUNT) if labelled else None

    def __len__(self) -> int:
        return COUNT

    def image(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)

    def name(self, index: int) -> str:
        return str(index)


@EVALUATORS.register_module()
class Which:
    """Scores that tell which images it was given."""

    def __init__(self, train: Any, test: Any) -> None:
        self.train, self.test = train, test

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        numbers = [int(part.name(index)) for part in (self.train, self.test) for index in range(len(part))]
        return {"number": float(len(numbers)), "order": float(np.dot(numbers, np.arange(len(numbers))))}


KNN = {"type": "KNN", "k": 1}


def coins(work_dir: Path, *, labelled: bool = True, evaluators: dict[str, Any], steps: int = 8) -> dict[str, Any]:
    config = tiny_config(work_dir, steps=steps, evaluators=evaluators)
    del config["default_hooks"]["evaluate"]
    config["train_dataloader"]["dataset"] = {"type": "Coins", "labelled": labelled}
    return config


def trained_on(runner: Runner) -> set[int]:
    """Which images of the whole data set an epoch shows."""
    return {
        int(runner.train_images.name(int(index)))
        for batch in runner._build_loop(0).dataloader
        for index in batch["index"]
    }


def judged(runner: Runner) -> set[int]:
    (source,) = {hook.judged for hook in runner.hooks if getattr(hook, "judged", None) is not None}
    return {int(source.dataset.name(index)) for index in range(len(source.dataset))}


def test_the_images_that_are_judged_are_not_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runner = Runner(coins(tmp_path, evaluators={"knn": KNN}), device="cpu")
    runner.logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        runner._build_training()
    assert len(judged(runner)) == 16
    assert trained_on(runner) == set(range(COUNT)) - judged(runner)
    assert runner.steps_per_epoch == 6  # of 48 images, 8 at a time
    said = [record.getMessage() for record in caplog.records if "held out" in record.getMessage()]
    assert said == ["held out from training: 16 of 64 images, on which evaluators judge; 48 are trained on"]


@pytest.mark.parametrize(
    "evaluators",
    [
        {},
        {"knn": {**KNN, "train": {"type": "Coins"}, "test": {"type": "Coins"}}},
        {"knn": {**KNN, "test": {"type": "Coins"}}},
        {"spread": {"type": "Spread"}},
    ],
)
def test_all_images_are_trained_on_where_none_of_them_is_judged(tmp_path: Path, evaluators: dict[str, Any]) -> None:
    runner = Runner(coins(tmp_path, evaluators=evaluators), device="cpu")
    runner._build_training()
    assert trained_on(runner) == set(range(COUNT))


def test_all_images_are_trained_on_where_there_are_no_labels(tmp_path: Path) -> None:
    evaluators = {"knn": KNN, "spread": {"type": "Spread"}}
    runner = Runner(coins(tmp_path, labelled=False, evaluators=evaluators), device="cpu")
    runner._build_training()
    assert trained_on(runner) == set(range(COUNT))


def test_a_resumed_run_and_one_with_another_seed_hold_out_the_same(tmp_path: Path) -> None:
    config = coins(tmp_path, evaluators={"knn": KNN}, steps=4)
    Runner(config, device="cpu").train()
    going_on = Runner(config | {"train_cfg": {"max_steps": 6}}, resume=True, device="cpu")
    going_on.train()
    other = Runner(coins(tmp_path / "other", evaluators={"knn": KNN}) | {"seed": 7}, device="cpu")
    other._build_training()
    assert judged(going_on) == judged(other)


@pytest.mark.parametrize("hook", [{}, {"max_images": 30, "seed": 3}])
def test_a_test_of_a_finished_run_judges_what_the_run_judged(tmp_path: Path, hook: dict[str, Any]) -> None:
    config = coins(tmp_path, evaluators={"which": {"type": "Which"}})
    config["default_hooks"]["evaluate"] = hook
    Runner(config, device="cpu").train()
    last = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "which/number" in line][-1]
    scores = evaluate(config, tmp_path / "checkpoints" / "step_000000008.pth", device="cpu")
    assert scores == {"which/number": last["which/number"], "which/order": last["which/order"]}


def test_what_a_test_will_judge_is_held_out_where_the_run_itself_does_not_look(tmp_path: Path) -> None:
    config = coins(tmp_path, evaluators={"knn": KNN})
    config["default_hooks"]["evaluate"] = None
    silent, watched = Runner(config, device="cpu"), Runner(coins(tmp_path / "b", evaluators={"knn": KNN}), device="cpu")
    for runner in (silent, watched):
        runner._build_training()
    assert trained_on(silent) == trained_on(watched) != set(range(COUNT))
