"""Evaluators on tasks: what they share, what is skipped, and that nothing is chosen on test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.evaluation import (
    KNN,
    SVM,
    FewShot,
    LinearProbe,
    LogisticRegression,
    RawPixels,
    Representation,
    Spread,
    Task,
    evaluate_tasks,
    metrics_of,
    read_rows,
)
from selfsup.evaluation.battery import evaluate_rows
from selfsup.testing import check_evaluator
from tests.evaluation.pictures import SMALL, Blobs

TASK = Task("blobs", train=Blobs(90, noise=90), test=Blobs(60, noise=90, seed=1, prefix="test"))


class Counting(RawPixels):
    """Counts the images it is shown."""

    seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return super().forward(images)


def evaluate(tasks: dict[str, Task], evaluators: dict[str, Any], **options: Any) -> tuple[dict[str, float], int]:
    backbone = Counting(2)
    findings = evaluate_tasks(Representation(backbone, SMALL), tasks, evaluators, **options)
    return metrics_of(findings, tasks=len(tasks)), backbone.seen


def test_each_image_is_shown_once_and_scores_are_those_of_the_evaluators_alone() -> None:
    evaluators = {"knn": KNN(), "linear": LinearProbe(), "features": Spread()}
    scores, seen = evaluate({"blobs": TASK}, evaluators)
    assert seen == 150
    for name, evaluator in evaluators.items():
        alone = evaluator.evaluate(Representation(RawPixels(2), SMALL), TASK)
        for key, score in alone.scores.items():
            assert scores[f"{name}/{key}"] == score.value


def test_several_tasks_are_told_apart_and_an_evaluator_may_be_meant_for_one() -> None:
    plain = Task("plain", test=Blobs(20, labelled=False))
    skipped: list[str] = []
    scores, _ = evaluate(
        {"blobs": TASK, "plain": plain},
        {"knn": KNN(), "spread": Spread()},
        only={"spread": "plain"},
        skipped=skipped.append,
    )
    assert {name.rpartition("/")[0] for name in scores} == {"blobs/knn", "plain/spread"}
    assert skipped == ["evaluators.knn is left out on task plain: it has nothing to learn from"]


def test_a_probe_learns_once_for_all_tests() -> None:
    class Noted(KNN):
        fits = 0

        def fit(self, *parts: Any) -> Any:
            self.fits += 1
            return super().fit(*parts)

    tests = {"a": Blobs(30, seed=1, prefix="a"), "b": Blobs(30, seed=2, prefix="b")}
    knn = Noted()
    evaluate({"blobs": Task("blobs", train=Blobs(90), test=tests)}, {"knn": knn})
    assert knn.fits == 1


def test_networks_without_weights_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    some = {size: Representation(RawPixels(size), SMALL, cache=tmp_path) for size in (1, 2)}
    assert some[1].fingerprint != some[2].fingerprint
    assert [some[size].features(TASK.test).features.shape[1] for size in (1, 2)] == [3, 12]


def test_predictions_are_kept_by_image() -> None:
    result = KNN().evaluate(Representation(RawPixels(2), SMALL), TASK)
    assert result.predictions is not None
    assert result.predictions.right.mean() == result.scores["top1"].value
    assert result.predictions.labels.tolist() == TASK.test.labels.tolist()


@pytest.mark.parametrize(("train", "test"), [(3, 4), (4, 3)])
def test_classes_that_one_side_alone_has_are_noted(train: int, test: int) -> None:
    task = Task(train=Blobs(60, num_classes=train), test=Blobs(30, num_classes=test, prefix="test"))
    result = KNN().evaluate(Representation(RawPixels(2), SMALL), task)
    assert [note.endswith("class 3") for note in result.notes] == [True]
    assert (task.parts.missing, task.parts.untested)[train > test] == ("class 3",)


@pytest.mark.parametrize("evaluator", [KNN(k=5), LinearProbe(), Spread()])
def test_they_fulfill_the_contract(evaluator: Any) -> None:
    check_evaluator(evaluator, TASK, input_contract=SMALL, unbounded=("rankme", "feature_std*"))


@pytest.mark.parametrize(
    "evaluator",
    [LinearProbe(), LogisticRegression((1000.0, 10.0, 0.1)), FewShot((2, 5), draws=3), SVM((0.01, 1.0, 100.0))],
    ids=["linear", "logistic", "few shot", "svm"],
)
def test_shuffling_the_test_labels_changes_no_choice(evaluator: Any) -> None:
    chosen = []
    for seed in (None, 0):
        test = Blobs(60, noise=90, seed=1, prefix="test")
        if seed is not None:
            test.labels = np.random.default_rng(seed).permutation(test.labels)
        task = Task(train=TASK.train, test=test)
        chosen.append(evaluator.evaluate(Representation(RawPixels(2), SMALL), task).chosen)
    assert chosen[0] == chosen[1] and chosen[0]


def test_rows_of_before_are_kept_where_an_evaluator_fails(tmp_path: Path) -> None:
    class Broken(KNN):
        def evaluate(self, representation: Representation, task: Task) -> Any:
            raise RuntimeError("broken")

    results = tmp_path / "results.jsonl"
    shown = Representation(RawPixels(2), SMALL)
    with pytest.raises(RuntimeError, match="broken"):
        evaluate_rows(shown, {"blobs": TASK}, {"knn": KNN(k=5), "broken": Broken(k=6)}, results=results)
    assert [row.evaluator for row in read_rows(results)] == ["knn"]


def test_an_evaluator_that_returns_no_scores_is_named() -> None:
    class Wrong:
        protocol, needs = "wrong/1", frozenset[str]()

        def evaluate(self, representation: Representation, task: Task) -> Any:
            return {"top1": 0.5}

    with pytest.raises(ConfigError, match=r"^evaluators\.mine: must return a Result"):
        evaluate({"blobs": TASK}, {"mine": Wrong()})


def test_a_layer_is_the_mean_of_its_feature_map() -> None:
    class Maps(RawPixels):
        def feature_maps(self, images: Tensor) -> list[Tensor]:
            return [images, images * 2, images * 3, images * 4]

    images = Blobs(5)
    found = Representation(Maps(16), SMALL, layer="res4").features(images).features
    pixels = torch.from_numpy(images.pixels).float().mean((1, 2)) / 255
    torch.testing.assert_close(found, 3 * pixels)
    with pytest.raises(ConfigError, match="layer: must be one of"):
        Representation(Maps(16), SMALL, layer="res6")
