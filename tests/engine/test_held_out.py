"""What evaluators judge is never trained on."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from selfsup.engine.evaluate import evaluate
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import CheckpointError
from selfsup.registry import DATASETS, EVALUATORS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
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
    """Scores that tell which images it was given; the numbers themselves are in ``seen``, call by call."""

    seen: ClassVar[list[tuple[set[int], ...]]] = []

    def __init__(self, train: Any, test: Any) -> None:
        self.train, self.test = train, test

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        self.seen.append(
            tuple({int(part.name(index)) for index in range(len(part))} for part in (self.train, self.test))
        )
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


WHICH = {"which": {"type": "Which"}}


def held_out_by(work_dir: Path) -> set[int]:
    return set(Checkpoint.read(list_checkpoints(work_dir)[-1]).data["held_out"].tolist())


def losses(work_dir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], set[int]]:
    """Losses of a run that was never stopped, and what it held out."""
    folder = tmp_path_factory.mktemp("whole")
    Runner(coins(folder, evaluators=WHICH), device="cpu").train()
    return losses(folder), held_out_by(folder)


@pytest.mark.parametrize(
    ("evaluators", "hook", "judged"),
    [
        (WHICH, {}, 16),
        ({}, {}, None),
        (WHICH, None, None),
        (WHICH, {"max_images": 20}, 5),
        (WHICH, {"max_images": 4000, "seed": 5}, 16),
    ],
)
def test_a_resumed_run_trains_on_the_same_images_whatever_is_evaluated_now(
    tmp_path: Path,
    whole: tuple[list[float], set[int]],
    evaluators: dict[str, Any],
    hook: dict[str, Any] | None,
    judged: int | None,
) -> None:
    Runner(coins(tmp_path, evaluators=WHICH, steps=3), device="cpu").train()
    config = coins(tmp_path, evaluators=evaluators)
    config["default_hooks"]["evaluate"] = hook
    Which.seen.clear()
    Runner(config, resume=True, device="cpu").train()
    assert (losses(tmp_path), held_out_by(tmp_path)) == whole
    assert bool(Which.seen) == (judged is not None)
    for learnt_from, judged_on in Which.seen:
        assert len(judged_on) == judged
        assert judged_on <= whole[1]
        assert learnt_from and not learnt_from & judged_on


def test_a_run_that_held_nothing_out_is_not_judged_on_what_it_has_trained_on(tmp_path: Path) -> None:
    Runner(coins(tmp_path, evaluators={}, steps=3), device="cpu").train()
    Runner(coins(tmp_path, evaluators={"spread": {"type": "Spread"}}, steps=4), resume=True, device="cpu").train()
    says = (
        f"{list_checkpoints(tmp_path)[-1]}: the run held 0 of its images out, and evaluators (knn, spread) would judge "
        "16 others, which it has trained on; give them images of their own (evaluators.*.test), switch them off "
        "(default_hooks.evaluate=None, evaluators={}), or use --init-from to start a new run from these weights"
    )
    config = coins(tmp_path, evaluators={"knn": KNN, "spread": {"type": "Spread"}})
    with pytest.raises(CheckpointError, match=re.escape(says) + "$"):
        Runner(config, resume=True, device="cpu").train()
    off = config | {"default_hooks": config["default_hooks"] | {"evaluate": None}}
    Runner(off | {"train_cfg": {"max_steps": 5}}, resume=True, device="cpu").train()
    own = {"knn": {**KNN, "train": {"type": "Coins"}, "test": {"type": "Coins"}}}
    Runner(coins(tmp_path, evaluators=own, steps=6), resume=True, device="cpu").train()
    assert held_out_by(tmp_path) == set() and len(losses(tmp_path)) == 6


def test_another_list_of_as_many_images_is_rejected(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=3)
    Runner(config, device="cpu").train()
    other = config["train_dataloader"] | {"dataset": {"type": "Scenes", "split": "test", "size": 40, "seed": 1}}
    says = (
        f"{list_checkpoints(tmp_path)[-1]}: the data set has as many images as the run's, 4,584, but it is another "
        "list, in names, order or labels; put it back, or use --init-from to start a new run from these weights"
    )
    with pytest.raises(CheckpointError, match=re.escape(says) + "$"):
        Runner(config | {"train_dataloader": other}, resume=True, device="cpu").train()


def by_a_test(config: dict[str, Any], checkpoint: Path) -> tuple[set[int], list[str]]:
    """The images that a test judges, and what it says of them."""
    Which.seen.clear()
    notes: list[str] = []
    evaluate(config, checkpoint, device="cpu", note=notes.append)
    ((_, judged_on),) = Which.seen
    return judged_on, notes


@pytest.mark.parametrize("hook", [{}, {"max_images": 4000, "seed": 9}, None])
def test_a_test_with_other_options_judges_what_the_run_held_out(tmp_path: Path, hook: dict[str, Any] | None) -> None:
    config = coins(tmp_path, evaluators=WHICH, steps=3)
    config["default_hooks"]["evaluate"] = {"max_images": 20, "seed": 3}
    Runner(config, device="cpu").train()
    config["default_hooks"]["evaluate"] = hook
    assert len(held_out_by(tmp_path)) == 5
    assert by_a_test(config, list_checkpoints(tmp_path)[-1]) == (held_out_by(tmp_path), [])


def test_of_two_evaluate_hooks_neither_judges_nor_does_a_test_what_is_trained_on(tmp_path: Path) -> None:
    config = coins(tmp_path, evaluators=WHICH, steps=6)
    config["default_hooks"]["evaluate"] = None
    hooks = [{"type": "EvaluateHook", "evaluators": WHICH, "max_images": 24, "seed": seed} for seed in (1, 2)]
    runner = Runner(config | {"custom_hooks": hooks}, device="cpu")
    Which.seen.clear()
    runner.train()
    judged_on = set().union(*(judged for _, judged in Which.seen))
    assert judged_on == held_out_by(tmp_path) and len(judged_on) > 6
    images = runner.train_images
    assert {int(images.name(index)) for index in range(len(images))} == set(range(COUNT)) - judged_on
    by_test, notes = by_a_test(config, list_checkpoints(tmp_path)[-1])
    assert len(by_test) == len(judged_on) and by_test <= judged_on and notes == []


def test_a_test_says_where_it_judges_what_was_trained_on_or_may_have_been(tmp_path: Path) -> None:
    config = coins(tmp_path, evaluators=WHICH, steps=3)
    Runner(config | {"evaluators": {}}, device="cpu").train()
    checkpoint = list_checkpoints(tmp_path)[-1]
    assert by_a_test(config, checkpoint)[1] == [f"{checkpoint} was trained on all images, those judged here among them"]
    backbone = tmp_path / "backbone.safetensors"
    among = "those judged here may be among them"
    assert by_a_test(config, backbone)[1] == [f"{backbone} does not say which images it was trained on; {among}"]
    saved = Checkpoint.read(checkpoint)
    replace(saved, data={**saved.data, "length": 1000}).write(checkpoint)  # type: ignore[dict-item]
    another = f"{checkpoint} was trained on another list of 1,000 images than the 64 of this config; {among}"
    assert by_a_test(config, checkpoint)[1] == [another]
    notes: list[str] = []
    evaluate(config | {"evaluators": {"spread": {"type": "Spread"}}}, checkpoint, device="cpu", note=notes.append)
    assert notes == []


def test_a_checkpoint_that_does_not_say_what_was_held_out_goes_on_with_the_choice_of_the_config(
    tmp_path: Path, whole: tuple[list[float], set[int]]
) -> None:
    Runner(coins(tmp_path, evaluators=WHICH, steps=3), device="cpu").train()
    (checkpoint,) = list_checkpoints(tmp_path)
    replace(Checkpoint.read(checkpoint), data=None).write(checkpoint)
    Runner(coins(tmp_path, evaluators=WHICH), resume=True, device="cpu").train()
    assert (losses(tmp_path), held_out_by(tmp_path)) == whole
