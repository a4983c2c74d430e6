import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from selfsup.evaluation.scores import Predictions, classification_scores, mean_per_class, proportion, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (180, 200), (9_950, 10_000)])
def test_wilsons_interval_is_scipys(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


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


@pytest.mark.parametrize("groups", [None, 4])
def test_the_interval_of_the_mean_per_class_covers_it(groups: int | None) -> None:
    rng = np.random.default_rng(0)
    covered, labels = 0, np.repeat([0, 1, 2], [120, 60, 20])
    chances = np.array([0.9, 0.7, 0.5])[labels]
    for _ in range(100):
        right = rng.random(200) < chances
        score = mean_per_class(labels, right, None if groups is None else np.arange(200) // groups)
        covered += score.low <= chances[[0, 150, 199]].mean() <= score.high
    assert covered >= 88  # 95 expected; fewer than 88 of 100 would happen once in 400


def test_ties_of_logits_are_no_reason_to_miss_a_label_in_the_top() -> None:
    predictions = Predictions(np.arange(1), np.array([2]), np.array([0]), np.zeros((1, 8)))
    assert predictions.top(1).all()
