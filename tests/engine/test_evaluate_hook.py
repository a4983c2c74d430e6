import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data.preprocess import Preprocess
from selfsup.data.selection import Subset
from selfsup.data.sources.scenes import Scenes
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.hooks.isolation import FrozenFeatures
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.evaluation import KNN, held_out_parts
from selfsup.registry import DATASETS
from selfsup.weights.checkpoint import list_checkpoints
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import tiny_config

KINDS = {"knn": {"type": "KNN", "k": 5}, "linear": {"type": "LinearProbe"}, "spread": {"type": "Spread"}}


@DATASETS.register_module()
class FewScenes(Subset):
    """Forty scenes, with labels or without."""

    def __init__(self, *, labelled: bool = True, background: str = "flat") -> None:
        super().__init__(Scenes(split="test", size=40, background=background), count=40)
        self.labelled = labelled

    @property
    def labels(self) -> np.ndarray | None:
        return super().labels if self.labelled else None


def run(
    work_dir: Path,
    *,
    hook: dict[str, Any] | None,
    caplog: Any = None,
    labelled: bool = True,
    resume: bool = False,
) -> Runner:
    config = tiny_config(work_dir, steps=6)
    config["train_dataloader"]["dataset"] = {"type": "FewScenes", "labelled": labelled}
    config["default_hooks"]["evaluate"] = hook and {"type": "EvaluateHook", **hook}
    runner = Runner(config, device="cpu", resume=resume)
    if caplog is not None:
        runner.logger.addHandler(caplog.handler)
    runner.train()
    return runner


def column(work_dir: Path, name: str) -> list[tuple[int, float]]:
    return [(line["step"], line[name]) for line in read_metrics(work_dir / "metrics.jsonl") if name in line]


def test_training_is_bitwise_the_same_with_and_without_evaluation(tmp_path: Path) -> None:
    run(tmp_path / "without", hook={"evaluators": KINDS, "every_epochs": 0})
    run(tmp_path / "with", hook={"evaluators": KINDS, "every_steps": 2, "at_start": True})
    assert len(column(tmp_path / "without", "loss")) == 6
    assert column(tmp_path / "with", "loss") == column(tmp_path / "without", "loss")


def test_the_step_of_a_score_is_that_of_its_checkpoint_also_after_a_resume(tmp_path: Path) -> None:
    hook = {"evaluators": KINDS, "every_epochs": 0, "every_steps": 3, "at_start": True}
    run(tmp_path, hook=hook)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["step_000000003.pth", "step_000000006.pth"]
    scores = column(tmp_path, "knn/top1")
    assert [step for step, _ in scores] == [0, 3, 6]
    assert [step for step, _ in column(tmp_path, "loss")] == [1, 2, 3, 4, 5, 6]
    list_checkpoints(tmp_path)[-1].unlink()
    run(tmp_path, hook=hook, resume=True)
    assert column(tmp_path, "knn/top1") == scores
    for checkpoint in list_checkpoints(tmp_path):
        checkpoint.unlink()
    run(tmp_path, hook=hook, resume=True)  # from the beginning: what is measured before it, once
    assert column(tmp_path, "knn/top1") == scores
    assert [step for step, _ in column(tmp_path, "loss")] == [1, 2, 3, 4, 5, 6]


def test_scores_are_written_when_due_and_once_at_the_end(tmp_path: Path) -> None:
    hook = {"evaluators": KINDS, "every_epochs": 0, "every_steps": 4}
    run(tmp_path / "steps", hook=hook)
    assert [step for step, _ in column(tmp_path / "steps", "knn/top1")] == [4, 6]
    run(tmp_path / "epochs", hook={"evaluators": KINDS, "every_epochs": 2, "at_start": True}, labelled=False)
    assert [step for step, _ in column(tmp_path / "epochs", "spread/rankme")] == [0, 6]  # 5 steps an epoch
    run(tmp_path / "held_out", hook={"evaluators": KINDS, "every_epochs": 1})
    assert [step for step, _ in column(tmp_path / "held_out", "linear/top1")] == [3, 6]  # 3 steps, of 28 images
    run(tmp_path / "end", hook={"evaluators": KINDS, "every_epochs": 3})
    assert [step for step, _ in column(tmp_path / "end", "spread/rankme")] == [6]


def test_the_last_scores_are_those_of_the_trained_method(tmp_path: Path) -> None:
    runner = run(tmp_path, hook={"evaluators": KINDS})
    assert runner.split is not None
    train, _ = held_out_parts(runner.split.train, max_images=4000, test_share=0.25, seed=0)
    expected = KNN(train, runner.split.val, k=5, size=32, preprocess=Preprocess()).evaluate(
        FrozenFeatures(runner.method)
    )
    assert column(tmp_path, "knn/top1")[-1][1] == expected["top1"]


def test_without_labels_the_log_says_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(tmp_path, hook={"evaluators": KINDS}, caplog=caplog, labelled=False)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("not evaluated, because no labelled images are held out: knn, linear") == 1
    assert column(tmp_path, "spread/rankme")
    assert not column(tmp_path, "knn/top1")


def test_what_is_wrong_with_an_evaluator_is_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unexpected keyword argument 'neighbors'"):
        run(tmp_path, hook={"evaluators": {"knn": {"type": "KNN", "neighbors": 5}}})
    assert not column(tmp_path, "loss")


def test_no_evaluators_is_no_evaluation(tmp_path: Path) -> None:
    runner = run(tmp_path, hook={"evaluators": {}})
    assert [hook.judged for hook in runner.hooks if isinstance(hook, EvaluateHook)] == [None]


def run_with_collapse_watch_and_pictures(work_dir: str) -> list[tuple[int, float]]:
    config = tiny_config(Path(work_dir), steps=3)
    config["train_dataloader"]["dataset"] = {"type": "FewScenes"}
    config["default_hooks"] |= {
        "evaluate": {"type": "EvaluateHook", "evaluators": {"knn": KINDS["knn"]}, "every_epochs": 0, "every_steps": 2},
        "collapse": {"type": "CollapseWatchHook", "every_steps": 2, "num_images": 9},
        "pictures": {"type": "PictureHook", "min_steps": 1, "num_images": 15},
        "checkpoint": None,
    }
    Runner(config, device="cpu").train()
    return column(Path(work_dir), "knn/top1") + column(Path(work_dir), "features/rankme")


@pytest.mark.dist
def test_two_processes_evaluate_watch_and_draw_together(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for found in run_in_processes(run_with_collapse_watch_and_pictures, str(tmp_path / "run")):
        assert [step for step, _ in found] == [2, 3, 2]
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "views.png",
        "curves.png",
        "embedding.png",
        "prototypes.png",
    }
