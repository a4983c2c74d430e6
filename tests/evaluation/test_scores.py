import dataclasses

import numpy as np
import pytest
from scipy.stats import binom, binomtest, chi2, t
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from benchmarks.coverage import coverage, least_coverage
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.scores import (
    Difference,
    Predictions,
    classification_scores,
    mean,
    mean_per_class,
    paired,
    paired_by,
    proportion,
    student_quantile,
    student_tail,
    tango,
    wilson,
)


def predictions(
    right: np.ndarray,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    names: list[str] | None = None,
) -> Predictions:
    labels = np.zeros(len(right), np.int64) if labels is None else labels
    return Predictions(np.arange(len(right)), labels, np.where(right, labels, 99), groups=groups, names=names)


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (180, 200), (9_950, 10_000)])
def test_wilsons_interval_is_scipys(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_accuracies_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    scores = classification_scores(Predictions(np.arange(200), labels, logits.argmax(1), logits))
    predicted = logits.argmax(axis=1)
    assert scores["top1"].value == pytest.approx((labels == predicted).mean())
    assert scores["per_class"].value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert scores["top5"].value == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert all(score.low < score.value < score.high and score.n == 200 for score in scores.values())


def test_a_rare_class_counts_as_much_as_a_frequent_one_and_absent_ones_do_not_count() -> None:
    labels = np.array([0] * 99 + [5])
    assert mean_per_class(labels, labels == 0).value == 0.5


def test_images_that_belong_together_are_drawn_together() -> None:
    """Twenty copies of each of 50 draws tell no more than the 50."""
    right = np.random.default_rng(0).random(50) < 0.7
    alone = proportion(right)
    copied = proportion(np.repeat(right, 20), np.repeat(np.arange(50), 20))
    assert copied.value == alone.value and copied.spread == "groups" and copied.n == 50
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.15)
    pretended = proportion(np.repeat(right, 20))
    assert pretended.high - pretended.low < 0.4 * (copied.high - copied.low)


def test_one_image_a_group_is_no_group_and_one_group_alone_shows_little() -> None:
    right = np.arange(40) % 4 > 0
    assert proportion(right, np.arange(40)) == proportion(right)
    alone = proportion(right, np.zeros(40, int))
    assert alone.n == 1 and alone.high - alone.low > 0.8


@pytest.mark.parametrize(
    ("kind", "accuracy", "n", "group"),
    [
        ("share", 0.8, 200, 5),
        ("per class", 0.95, 200, 1),
        ("paired, equal", 0.8, 200, 5),
        ("paired, ahead", 0.8, 50, 1),
    ],
)
def test_intervals_cover_the_truth(kind: str, accuracy: float, n: int, group: int) -> None:
    """95 % is expected, and three to four standard errors are allowed; benchmarks/coverage.py does it at length."""
    covered, _, _ = coverage(kind, accuracy, n, group=group, replicates=300)
    assert 0.90 <= covered <= 0.985


def test_few_decisive_images_allow_only_some_coverages() -> None:
    assert [least_coverage(n, 0.5) for n in (1, 4)] == pytest.approx([1, 15 / 16])
    assert least_coverage(50, 0.005) == pytest.approx(binom.cdf(1, 50, 0.005))
    assert least_coverage(5000, 0.2) == pytest.approx(0.93, abs=1e-3)


@pytest.mark.parametrize("df", [1.0, 2.5, 9.0, 300.0, 2e4])
def test_students_distribution_is_scipys(df: float) -> None:
    assert student_quantile(df) == pytest.approx(t.ppf(0.975, df), rel=1e-6)
    for value in (0.0, 0.3, 2.0, 6.0):
        assert student_tail(value, df) == pytest.approx(2 * t.sf(value, df), abs=1e-9)


def test_tangos_interval_is_the_published_one() -> None:
    """Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91, table 2: 1 and 7 of 21 pairs."""
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_the_mean_of_numbers_has_an_interval_of_their_variance_that_stays_within_0_and_1() -> None:
    values = np.random.default_rng(0).random(200)
    score, half = mean(values), 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert (score.value, score.high - score.low) == pytest.approx((values.mean(), 2 * half), rel=1e-2)
    few_errors = np.append(np.ones(200), 0.5)
    assert 0.98 < mean(few_errors).low < mean(few_errors).value < mean(few_errors).high < 1
    assert mean(np.ones(50)).low == proportion(np.ones(50, bool)).low


def test_the_paired_test_is_mcnemars_and_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for gain in (0.0, 0.05, 0.1):
        a, b = rng.random(300) < 0.7, rng.random(300) < 0.7 + gain
        found = paired(predictions(a), predictions(b))
        up, down = int((b & ~a).sum()), int((a & ~b).sum())
        assert found.value == pytest.approx((up - down) / 300)
        assert found.p == pytest.approx(chi2.sf((up - down) ** 2 / (up + down), 1))
        assert found.clear == (found.p < 0.05)


def test_the_words_name_who_is_ahead() -> None:
    assert str(Difference(0.013, 0.002, 0.024, 0.02, 900)) == "B is ahead by 1.3 points, 95 % interval 0.2 to 2.4"
    words = Difference(-0.013, -0.03, 0.004, 0.1, 900).words("moco", "swav")
    assert words == "moco is ahead by 1.3 points, 95 % interval -0.4 to 3.0: no difference is shown"


def test_images_are_paired_by_name() -> None:
    right = np.array([True, True, False, True])
    a = predictions(right, names=["a", "b", "c", "d"])
    b = predictions(right[::-1], names=["d", "c", "b", "x"])
    found = paired(a, b)
    assert (found.value, found.n, found.unpaired) == (0, 3, 2)
    with pytest.raises(DataError) as error:
        paired(a, predictions(right, names=["e", "f", "g", "h"]))
    assert error.value.problems[0].path == "predictions"
    with pytest.raises(DataError) as error:
        paired(a, predictions(right, labels=np.ones(4, int), names=["a", "b", "c", "d"]))
    assert error.value.problems[0].got == "a"


def test_the_same_images_twice_in_groups_are_no_more_evidence() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(200) < 0.6, rng.random(200) < 0.7
    alone = paired(predictions(a), predictions(b))
    groups = np.repeat(np.arange(200), 4)
    copied = paired(predictions(a.repeat(4), groups=groups), predictions(b.repeat(4), groups=groups))
    assert copied.spread == "groups" and copied.value == alone.value
    assert (copied.low, copied.high, copied.p) == pytest.approx((alone.low, alone.high, alone.p), abs=3e-3)


def test_classes_and_taxa_that_gain_are_found() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(600) % 3
    a, b = rng.random(600) < 0.6, rng.random(600) < np.array([0.6, 0.9, 0.6])[labels]
    by_class = paired_by(predictions(a, labels), predictions(b, labels))
    assert next(iter(by_class)) == "1" and by_class["1"].clear and by_class["1"].n == 200
    by_taxon = paired_by(predictions(a, labels), predictions(b, labels), ["x", "y", "x"])
    assert list(by_taxon) == ["y", "x"] and by_taxon["x"].n == 400
    whole = paired(predictions(a, labels), predictions(b, labels), metric="per_class")
    assert whole.value == pytest.approx(np.mean([each.value for each in by_class.values()]))


def test_the_top_five_need_more_than_the_best_class() -> None:
    bare = predictions(np.ones(3, bool))
    for each in (bare, dataclasses.replace(bare, ranked=bare.best(5))):  # as they are read back from a file
        with pytest.raises(ConfigError) as error:
            paired(each, each, metric="top5")
        assert error.value.problems[0].path == "metric"


def test_of_equal_logits_the_smaller_class_comes_first_and_what_is_out_of_the_question_is_in_no_top() -> None:
    logits = np.zeros((8, 8))
    logits[:, [0, 5]] = -np.inf, 1
    found = Predictions(np.arange(8), np.arange(8), logits.argmax(1), logits)
    assert np.flatnonzero(found.top(1)).tolist() == [5] and np.flatnonzero(found.right).tolist() == [5]
    assert np.flatnonzero(found.top(3)).tolist() == [1, 2, 5]
    assert not found.top(8)[0] and (found.best(8)[:, -1] == -1).all()
    many = np.random.default_rng(0).integers(-9, 9, (3000, 30)).astype(float)
    many[many < 0] = -np.inf
    sorted_whole = np.argsort(-many, axis=1, kind="stable")[:, :5]
    expected = np.where(np.take_along_axis(many, sorted_whole, axis=1) > -np.inf, sorted_whole, -1)
    assert np.array_equal(Predictions(np.arange(3000), many.argmax(1), many.argmax(1), many).best(5), expected)
