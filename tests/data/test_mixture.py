from collections import Counter

import numpy as np
import pytest

from selfsup.data import Mixture, split
from selfsup.errors import ConfigError
from tests.data.listed import Listed


def source(letter: str, count: int, *, labelled: bool = False) -> Listed:
    names, labels = [f"{letter}{number}" for number in range(count)], [number % 2 for number in range(count)]
    made = Listed(names, labels if labelled else None)
    made.classes = [f"{letter} even", "odd"] if labelled else None  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("sizes, weights", [((10, 40), (1, 1)), ((30, 7), (2, 1)), ((5, 5), (1, 9))])
def test_each_source_has_its_share_and_every_image_is_seen(sizes: tuple[int, int], weights: tuple[int, int]) -> None:
    mixture = Mixture({"a": source("a", sizes[0]), "b": source("b", sizes[1])}, {"a": weights[0], "b": weights[1]})
    seen = Counter(mixture.name(index) for index in range(len(mixture)))
    assert len(seen) == sum(sizes)
    assert mixture.counts[0] / mixture.counts[1] == pytest.approx(weights[0] / weights[1], rel=0.03)
    for letter in "ab":
        times = [count for name, count in seen.items() if name.startswith(letter)]
        assert max(times) - min(times) <= 1
    assert min(seen.values()) == 1


def test_without_weights_every_image_counts_alike() -> None:
    mixture = Mixture({"a": source("a", 3), "b": source("b", 8)})
    assert mixture.counts == [3, 8]
    assert len({mixture.name(index) for index in range(11)}) == 11


def test_classes_are_joined_by_name() -> None:
    mixture = Mixture({"a": source("a", 4, labelled=True), "b": source("b", 4, labelled=True)}, {"a": 1, "b": 3})
    assert mixture.classes == ["a even", "odd", "b even"]
    for index in range(len(mixture)):
        letter, number = mixture.name(index)[0], int(mixture.name(index)[3:])
        assert mixture.classes[mixture.labels[index]] == ("odd" if number % 2 else f"{letter} even")
    np.testing.assert_array_equal(mixture.labels[:], [mixture.labels[index] for index in range(len(mixture))])


def test_repeats_lie_on_one_side_of_a_split() -> None:
    parts = split(Mixture({"a": source("a", 20, labelled=True), "b": source("b", 20, labelled=True)}, {"a": 1, "b": 3}))
    names = [{part.name(index) for index in range(len(part))} for part in (parts.train, parts.val, parts.test)]
    assert all(names) and not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": 0}, {"a": 1, "c": 1}])
def test_weights_that_do_not_fit_are_rejected(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as raised:
        Mixture({"a": source("a", 3), "b": source("b", 3)}, weights)
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("weights", weights)
