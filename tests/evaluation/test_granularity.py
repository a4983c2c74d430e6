"""Accuracy by level: the record, monotone towards the root, and the taxa that gain."""

import dataclasses

import numpy as np
import pytest

from selfsup.data.hierarchy import Hierarchy
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import KNN, Granularity, LinearProbe, Predictions, RawPixels, Representation, Spread, Task
from selfsup.evaluation.protocols.granularity import accuracy_by_level, accuracy_by_taxon, gains, relabeled
from selfsup.testing import check_evaluator
from tests.evaluation.pictures import SMALL, Blobs
from tests.reference import record

TREE = Hierarchy(("kind",), {"class 0": ("a",), "class 1": ("a",), "class 2": ("b",), "class 3": ("b",)})
TASK = Task(train=Blobs(80, num_classes=4, noise=120), test=Blobs(60, num_classes=4, noise=120, seed=1), hierarchy=TREE)


def test_it_agrees_with_the_conformance_record() -> None:
    case = record("eval/granularity")
    given, expected = case["input"], case["expected"]
    labels, predicted = np.array(given["y_true"]), np.array(given["y_pred"])
    above = {str(fine): (str(given["top"][fine]), f"mid {mid}") for fine, mid in enumerate(given["parent"])}
    predictions = Predictions(np.arange(len(labels)), labels, predicted, classes=[str(each) for each in range(6)])
    scores = accuracy_by_level(predictions, Hierarchy(("top", "mid"), above))
    assert list(scores) == ["top", "mid", "class"]
    assert scores["class"].value == pytest.approx(expected["fine"])
    assert scores["mid"].value == pytest.approx(expected["mid"])
    assert scores["top"].value == pytest.approx(expected["top"])


def test_accuracy_only_rises_towards_the_root() -> None:
    rng = np.random.default_rng(0)
    classes = [f"{number}" for number in range(30)]
    chains = {name: [*(f"{name[: n + 1]}/{int(name) % (2 + 3 * n)}" for n in range(4)), name] for name in classes}
    tree = Hierarchy(tuple("abcd"), {name: tuple(chain[:4]) for name, chain in chains.items()})
    # a taxon is told apart by all above it, so that any table makes a tree
    for _ in range(10):
        labels, predicted = rng.integers(0, 30, (2, 200))
        found = accuracy_by_level(Predictions(np.arange(200), labels, predicted, classes=classes), tree)
        values = [score.value for score in found.values()]
        assert values == sorted(values, reverse=True)


def test_the_finest_level_is_the_probe_and_nothing_is_learned_twice() -> None:
    representation = Representation(RawPixels(2), SMALL)
    result = Granularity(probe=dict(type="KNN", k=5), breakdown="kind").evaluate(representation, TASK)
    alone = KNN(k=5).evaluate(representation, TASK)
    assert result.scores["class"] == alone.scores["top1"]
    assert result.scores["kind"].value >= result.scores["class"].value
    parts = [result.scores["kind/a"], result.scores["kind/b"]]
    assert np.mean([part.value for part in parts]) == pytest.approx(result.scores["class"].value)
    assert [part.n for part in parts] == [30, 30]


def test_the_taxa_that_gain_are_found_with_intervals() -> None:
    labels = np.arange(400) % 4
    names = list(TREE.lineages)
    rng = np.random.default_rng(0)
    worse = Predictions(np.arange(400), labels, np.where(rng.random(400) < 0.5, labels, 0), classes=names)
    right = (labels < 2) & (rng.random(400) < 0.95)
    better = dataclasses.replace(worse, predicted=np.where(right, labels, worse.predicted))
    found = gains(worse, better, TREE, "kind")
    assert list(found) == ["a", "b"] and found["a"].clear and found["b"].value == 0
    by_class = accuracy_by_taxon(better, TREE)
    assert list(by_class) == names and by_class["class 1"].n == 100
    assert relabeled(better, TREE, "kind").right.mean() >= better.right.mean()


def test_it_fulfills_the_contract() -> None:
    check_evaluator(Granularity(probe=dict(type="KNN", k=5)), TASK, input_contract=SMALL)


def test_a_broken_hierarchy_an_unknown_level_and_a_probe_that_is_none_are_rejected_early() -> None:
    gap = Hierarchy(("kind",), {name: lineage for name, lineage in TREE.lineages.items() if name != "class 3"})
    task = dataclasses.replace(TASK, hierarchy=gap)
    with pytest.raises(DataError) as error:
        task.fits(Granularity.needs)
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("tasks.task.hierarchy", "class 3")
    assert dataclasses.replace(TASK, hierarchy=None).fits(Granularity.needs) == "it has no hierarchy of classes"
    with pytest.raises(ConfigError) as wrong:
        Granularity(breakdown="kidn").evaluate(Representation(RawPixels(2), SMALL), TASK)
    assert wrong.value.problems[0].expected == "did you mean 'kind'?"
    with pytest.raises(ConfigError) as wrong:
        Granularity(probe=Spread())
    assert wrong.value.problems[0].path == "probe"


def test_training_images_of_one_class_are_rejected_before_anything_is_computed() -> None:
    one = Blobs(20)
    one.labels = np.zeros(20, np.int64)
    with pytest.raises(DataError) as error:
        Task("one", train=one, test=Blobs(20, prefix="test")).fits(LinearProbe.needs)
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("tasks.one.train", "class 0")
