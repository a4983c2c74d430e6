"""The SVM protocol of VISSL: average precision, normalization, what does not count, few shots."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from selfsup.data import LabelSets, Subset
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import KNN, SVM, RawPixels, Representation, Task
from selfsup.evaluation.protocols.average_precision import average_precision
from selfsup.evaluation.protocols.svm import few_shots, normalized, targets
from selfsup.testing import check_evaluator
from tests.evaluation.pictures import SMALL, Blobs
from tests.reference import record
from tests.reference.vissl_svm import area_by_vissl, eleven_points

SHOWN = Representation(RawPixels(2), SMALL)


class Pascal(Blobs):
    """Images with several of three classes, some of which are 'difficult'; the color tells the first one."""

    def __init__(self, count: int = 90, *, seed: int = 0, **options: Any) -> None:
        super().__init__(count, seed=seed, **options)
        rng = np.random.default_rng(seed + 5)
        known = np.eye(3, dtype=int)[np.arange(count) % 3]
        known[(rng.random((count, 3)) < 0.2) & (known == 0)] = 1
        known[(rng.random((count, 3)) < 0.1) & (known == 0)] = -1
        image, number = np.nonzero(known)
        offsets = np.searchsorted(image, np.arange(count + 1))
        self.known = known
        self.labels = LabelSets(number, offsets, 3, values=known[image, number])


def test_features_are_normalized_as_in_the_conformance_record() -> None:
    case = record("eval/voc_svm_norm")
    np.testing.assert_allclose(normalized(np.array(case["input"]["f"])), case["expected"], atol=case["tol"])


@pytest.mark.parametrize("seed", range(6))
def test_average_precisions_are_vissls_and_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.choice([1, 0, -1], 60, p=[0.3, 0.5, 0.2])
    scores = rng.normal(size=60) + known.clip(0)
    given = known.tolist(), scores.tolist()
    assert average_precision(known, scores) == pytest.approx(area_by_vissl(*given), abs=1e-12)
    assert average_precision(known, scores, "11-point") == pytest.approx(eleven_points(*given), abs=1e-12)
    counted = known >= 0
    expected = average_precision_score(known[counted], scores[counted])
    assert average_precision(known, scores, "scikit-learn") == pytest.approx(expected, abs=1e-12)
    tied = scores.round()
    expected = average_precision_score(known[counted], tied[counted])
    assert average_precision(known, tied, "scikit-learn") == pytest.approx(expected, abs=1e-12)
    twice = np.arange(60).repeat(2)
    for kind in ("full", "11-point", "scikit-learn"):
        whole = average_precision(known[twice], scores[twice], kind)  # type: ignore[arg-type]
        drawn = average_precision(known, scores, kind, np.stack([np.full(60, 2), known < 1]))  # type: ignore[arg-type]
        assert drawn[0] == pytest.approx(whole) and np.isnan(drawn[1])
        some = np.arange(60) % 3 > 0
        alone = average_precision(known[some], scores[some], kind)  # type: ignore[arg-type]
        assert average_precision(known, scores, kind, some[None]) == pytest.approx(alone)  # type: ignore[arg-type]


def test_what_is_not_judged_is_kept_with_the_labels() -> None:
    pascal = Pascal(30)
    np.testing.assert_array_equal(targets(pascal.labels, 3), pascal.known)
    np.testing.assert_array_equal(np.stack([pascal.labels[n] for n in range(30)]), pascal.known == 1)
    assert pascal.labels.counts().tolist() == (pascal.known == 1).sum(axis=0).tolist()
    some = Subset(pascal, indices=[5, 2])
    assert some.labels.counts().tolist() == (pascal.known[[5, 2]] == 1).sum(axis=0).tolist()
    np.testing.assert_array_equal(targets(some.labels, 3), pascal.known[[5, 2]])
    np.testing.assert_array_equal(
        targets(some.labels.renumbered(2 - pascal.labels.numbers, 3), 3), pascal.known[[5, 2], ::-1]
    )


def test_the_whole_protocol_is_vissls_written_out() -> None:
    train, test = Pascal(), Pascal(60, seed=1, prefix="test")
    task = Task("voc", train=train, test=test)
    result = SVM((0.1, 1.0, 10.0), per_class=True).evaluate(SHOWN, task)
    order = [int(task.parts.train.name(n).split()[1]) for n in range(len(task.parts.train))]
    order += [int(task.parts.val.name(n).split()[1]) for n in range(len(task.parts.val))]
    features = normalized(SHOWN.features(train).features.numpy())[order]
    shown = normalized(SHOWN.features(test).features.numpy())
    expected = {}
    for number in range(3):
        target = np.where(train.known[order, number] == 1, 1, -1)
        best: tuple[float, Any] = (-1.0, None)
        for cost in (0.1, 1.0, 10.0):
            machine = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, max_iter=2000, dual=True, random_state=0)
            found = cross_val_score(machine, features, target, cv=3, scoring="average_precision").mean()
            best = max(best, (found, cost), key=lambda each: each[0])
        machine = LinearSVC(C=best[1], class_weight={1: 2, -1: 1}, max_iter=2000, dual=True, random_state=0)
        decision = machine.fit(features, target).decision_function(shown)
        assert result.chosen["cost"][f"class {number}"] == best[1]
        expected[number] = area_by_vissl(test.known[:, number].tolist(), decision.tolist())
    for number, value in expected.items():
        assert result.scores[f"map/class {number}"].value == pytest.approx(value)
    whole = result.scores["map"]
    assert whole.value == pytest.approx(np.mean(list(expected.values()))) and whole.low < whole.value < whole.high


def test_few_shots_are_drawn_as_vissl_draws_them() -> None:
    pascal = Pascal()
    for places, number in zip(
        few_shots(pascal.known, [0, 1, 2], 4, several=True, seed=(0, 4, 0)), range(3), strict=True
    ):
        assert places is not None
        column = pascal.known[places, number]
        assert ((column == 1).sum(), (column == 0).sum(), (column == -1).sum()) == (4, 8, 0)
    one = np.eye(3, dtype=int)[np.arange(30) % 3]
    drawn = few_shots(one, [0, 1, 2], 4, several=False, seed=(0, 4, 0))
    assert all(np.array_equal(places, drawn[0]) for places in drawn)  # type: ignore[arg-type]
    assert one[drawn[0]].sum(axis=0).tolist() == [4, 4, 4]
    assert few_shots(one, [0, 1, 2], 11, several=False, seed=(0,)) == [None] * 3


@pytest.mark.parametrize(("source", "enough"), [(Pascal, (2, 8)), (Blobs, (2, 8, 36))])
def test_few_shots_come_from_train_and_val_and_costs_are_chosen_on_the_rest(source: Any, enough: Any) -> None:
    """36 of the 40 images of a class are more than train has of them alone."""
    task = Task(train=source(120), test=source(60, seed=1, prefix="test"))
    result = SVM((0.1, 10.0), shots=(2, 8, 36, 500), samples=3).evaluate(SHOWN, task)
    assert set(result.scores) == {f"k{k}/{name}" for k in enough for name in ("map", "map_11", "map_step")}
    assert set(result.chosen["cost"]) == {f"k{k}" for k in enough}
    score = result.scores["k8/map"]
    assert (score.spread, score.n) == ("draws", 3) and "k = 500" in " ".join(result.notes)


def test_it_fulfills_the_contract_and_leaves_tasks_of_one_class_an_image_to_others_too() -> None:
    task = Task(train=Blobs(60), test=Blobs(40, seed=1, prefix="test"))
    check_evaluator(SVM((1.0,)), task, input_contract=SMALL)
    several = Task(train=Pascal(), test=Pascal(30, seed=1, prefix="test"))
    assert several.fits(SVM.needs) is None
    assert several.fits(KNN.needs) == "its images have several classes each"


def test_a_machine_that_does_not_converge_is_noted() -> None:
    task = Task(train=Pascal(noise=200), test=Pascal(30, seed=1, prefix="test"))
    notes = SVM((1e6,)).evaluate(SHOWN, task).notes
    assert notes and "did not converge" in notes[0]


def test_classes_with_too_few_images_are_named_before_anything_is_computed() -> None:
    rare = Blobs(40)
    rare.labels = np.array([2] + [0, 1] * 19 + [0])
    with pytest.raises(DataError) as error:
        SVM().evaluate(None, Task("rare", train=rare, test=Blobs(30, prefix="test")))  # type: ignore[arg-type]
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("tasks.rare.train", "class 2")


@pytest.mark.parametrize(
    ("options", "path"),
    [({"costs": (2.0, 1.0)}, "costs"), ({"shots": ()}, "shots"), ({"folds": 1}, "folds"), ({"samples": 1}, "samples")],
)
def test_arguments_out_of_range_are_rejected(options: Any, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        SVM(**options)
    assert error.value.problems[0].path == path
