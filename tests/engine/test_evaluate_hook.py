"""Evaluation during training, and of what came out: the same code, val on the way, test at the end."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.evaluate import evaluate, metrics
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.evaluation import KNN, LinearProbe, Representation, Spread, evaluate_tasks, metrics_of
from selfsup.weights.checkpoint import list_checkpoints
from tests.dist.two_processes import run_in_processes
from tests.engine.test_picture_hook import PICTURES
from tests.engine.tiny_run import log_of, losses, some_scenes, tiny_config, trained

KINDS = {"knn": {"type": "KNN", "k": 5}, "linear": {"type": "LinearProbe"}, "spread": {"type": "Spread"}}
BUILT = {"knn": KNN(k=5), "linear": LinearProbe(), "spread": Spread()}


def config_of(work_dir: Path, *, hook: dict[str, Any] | None, labelled: bool = True, **changes: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, steps=6)
    config["train_dataloader"]["dataset"] = some_scenes(80) if labelled else {"type": "Noise", "length": 80}
    config["split"] = {"val": 0.2, "test": 0.2}
    config["default_hooks"]["evaluate"] = (
        None if hook is None else {"type": "EvaluateHook", "evaluators": KINDS, **hook}
    )
    return config | changes


def run(work_dir: Path, *, hook: dict[str, Any] | None, resume: bool = False, **changes: Any) -> Runner:
    return trained(config_of(work_dir, hook=hook, **changes), device="cpu", resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A run that is evaluated before it, on the way and at its end."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder, hook={"every_epochs": 0, "every_steps": 3, "at_start": True}, evaluators=KINDS)


def test_training_is_bitwise_the_same_with_and_without_evaluation(whole: Runner, tmp_path: Path) -> None:
    run(tmp_path, hook=None)
    assert len(losses(tmp_path, "loss")) == 6
    assert losses(Path(whole.work_dir), "loss") == losses(tmp_path, "loss")


def test_the_scores_on_the_way_are_those_of_the_offline_code_on_what_may_be_watched(whole: Runner) -> None:
    (task,) = whole.tasks.values()
    representation = Representation(whole.method, whole.input_contract)
    found = metrics_of(evaluate_tasks(representation, {"own": task.watch()}, BUILT), tasks=1)
    last = [line for line in read_metrics(Path(whole.work_dir) / "metrics.jsonl") if "knn/top1" in line][-1]
    assert {name: last[name] for name in found} == found
    assert {"knn/top1", "linear/top1", "spread/rankme"} <= found.keys()


def test_a_finished_run_is_evaluated_on_test_and_a_row_that_exists_is_not_computed_again(
    whole: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(Path(whole.work_dir), hook=None, evaluators=KINDS)
    results, said = tmp_path / "results.jsonl", []
    (checkpoint,) = list_checkpoints(whole.work_dir)[-1:]
    rows = evaluate(config, checkpoint, device="cpu", results=results, note=said.append)
    scores = metrics(rows, tasks=1)
    representation = Representation(whole.method, whole.input_contract)
    expected = metrics_of(evaluate_tasks(representation, whole.tasks, BUILT), tasks=1)
    assert {name: score.value for name, score in scores.items()} == expected
    assert scores["knn/top1"].low < scores["knn/top1"].value < scores["knn/top1"].high
    assert not said
    written = [json.loads(line) for line in results.read_text().splitlines()]
    assert {row["evaluator"]: row["representation"]["step"] for row in written} == dict.fromkeys(KINDS, 6)
    monkeypatch.setattr(Representation, "__call__", lambda *_: pytest.fail("computed again"))
    assert evaluate(config, checkpoint, device="cpu", results=results) == rows
    assert len(results.read_text().splitlines()) == len(KINDS)


def test_scores_are_written_when_due_and_at_the_end_also_after_a_resume(whole: Runner, tmp_path: Path) -> None:
    work_dir = Path(whole.work_dir)
    assert [step for step, _ in losses(work_dir, "knn/top1")] == [0, 3, 6]
    shutil.copytree(work_dir, tmp_path / "cut")
    list_checkpoints(tmp_path / "cut")[-1].unlink()
    run(tmp_path / "cut", hook={"every_epochs": 0, "every_steps": 3, "at_start": True}, resume=True)
    assert losses(tmp_path / "cut", "knn/top1") == losses(work_dir, "knn/top1")
    assert [step for step, _ in losses(tmp_path / "cut", "loss")] == [1, 2, 3, 4, 5, 6]
    run(tmp_path / "by epoch", hook={"every_epochs": 1})  # of 5 steps of 8 of 46 images
    assert [step for step, _ in losses(tmp_path / "by epoch", "knn/top1")] == [5, 6]


def test_without_labels_some_training_images_are_looked_at_and_the_log_says_what_is_left_out(tmp_path: Path) -> None:
    runner = run(tmp_path, hook={}, labelled=False)
    assert runner.split is None and len(runner.train_images) == 80
    assert sum("knn" in line and "left out" in line for line in log_of(tmp_path).splitlines()) == 1
    assert losses(tmp_path, "spread/rankme")
    assert not losses(tmp_path, "knn/top1")


def test_features_that_mean_nothing_are_logged_and_the_training_continues(tmp_path: Path) -> None:
    runner = Runner(config_of(tmp_path, hook={}), device="cpu")
    runner.method.features = lambda images, *_: torch.zeros(len(images), 4)  # type: ignore[method-assign]
    runner.train()
    assert len(losses(tmp_path, "loss")) == 6
    assert not losses(tmp_path, "knn/top1")
    assert "no scores; backbone: all " in log_of(tmp_path)


def test_a_tasks_own_name_and_an_evaluator_for_one_of_them(tmp_path: Path) -> None:
    scenes = {"type": "Scenes", "size": 40, "variants": 1, "domains": ("google",)}
    parts = {"train": {**scenes, "split": "val"}, "test": {**scenes, "split": "test"}}
    tasks = {"emoji": {"type": "Task", **parts}, "other": {"type": "Task", **parts, "seed": 1}}
    evaluators = {"knn": {"type": "KNN"}, "spread": {"type": "Spread", "task": "other"}}
    config = config_of(tmp_path, hook={"evaluators": evaluators, "max_images": 40}, tasks=tasks)
    runner = trained(config, device="cpu")
    assert runner.split is None
    found = {name for line in read_metrics(tmp_path / "metrics.jsonl") for name in line}
    assert {"emoji/knn/top1", "other/knn/top1", "other/spread/rankme"} <= found
    assert "emoji/spread/rankme" not in found


def run_with_collapse_watch_and_pictures(work_dir: str) -> list[tuple[int, float]]:
    config = config_of(Path(work_dir), hook={"evaluators": {"knn": KINDS["knn"]}, "every_epochs": 0, "every_steps": 2})
    config["train_cfg"] = {"max_steps": 3}
    config["default_hooks"] |= {
        "collapse": {"type": "CollapseWatchHook", "every_steps": 2, "num_images": 9},
        "pictures": {"type": "PictureHook", "min_steps": 1, "num_images": 15},
        "checkpoint": None,
    }
    Runner(config, device="cpu").train()
    return losses(Path(work_dir), "knn/top1") + losses(Path(work_dir), "features/rankme")


@pytest.mark.dist
def test_two_processes_evaluate_watch_and_draw_together(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for found in run_in_processes(run_with_collapse_watch_and_pictures, str(tmp_path / "run")):
        assert [step for step, _ in found] == [2, 3, 2]
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == PICTURES
