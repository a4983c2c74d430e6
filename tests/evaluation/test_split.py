import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit

from selfsup.evaluation import stratified_split


def test_parts_are_disjoint_complete_and_the_same_every_time() -> None:
    labels = np.random.default_rng(0).integers(0, 6, 301)
    train, test = stratified_split(labels, test_share=0.3, seed=4)
    assert sorted([*train, *test]) == list(range(301))
    again = stratified_split(labels, test_share=0.3, seed=4)
    assert np.array_equal(train, again[0])
    other = stratified_split(labels, test_share=0.3, seed=5)
    assert not np.array_equal(test, other[1])


def test_each_class_gives_its_share_as_in_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 20])
    _, test = stratified_split(labels, test_share=0.25, seed=0)
    _, expected = next(StratifiedShuffleSplit(1, test_size=0.25, random_state=0).split(labels, labels))
    assert np.bincount(labels[test]).tolist() == np.bincount(labels[expected]).tolist() == [25, 10, 5]


def test_small_classes_are_in_both_parts_and_single_images_are_learned_from() -> None:
    labels = np.array([0] * 50 + [1, 1] + [2])
    train, test = stratified_split(labels, test_share=0.1, seed=0)
    assert np.bincount(labels[train]).tolist() == [45, 1, 1]
    assert np.bincount(labels[test]).tolist() == [5, 1]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_part_that_is_everything_or_nothing_is_rejected(share: float) -> None:
    with pytest.raises(ValueError, match="inside"):
        stratified_split(np.zeros(4, int), test_share=share, seed=0)
