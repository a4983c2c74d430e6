import itertools

import numpy as np
import pytest

from selfsup.data.draw import Drawn, draw
from selfsup.data.sampler import StepSampler


@pytest.mark.parametrize("length, count", [(1, 1), (7, 3), (1000, 999), (10**9, 50)])
def test_numbers_are_in_range_ascending_and_different(length: int, count: int) -> None:
    drawn = draw(length, count, seed=3)
    assert drawn.dtype == np.int64
    assert len(drawn) == count
    assert drawn.min() >= 0 and drawn.max() < length
    assert (np.diff(drawn) > 0).all()


def test_a_smaller_draw_is_contained_in_a_larger_one_and_seeds_differ() -> None:
    assert set(draw(5000, 40, seed=2)) <= set(draw(5000, 300, seed=2))
    assert set(draw(5000, 40, seed=2)) != set(draw(5000, 40, seed=3))


@pytest.mark.parametrize("length, count", [(7, 3), (7, 7), (1000, 400), (10**9, 5 * 10**8)])
def test_numbers_are_the_same_one_by_one_and_together(length: int, count: int) -> None:
    drawn = Drawn(length, count, seed=5)
    some = np.unique(np.linspace(0, count - 1, 40).astype(np.int64))
    one_by_one = [drawn[position] for position in some.tolist()]
    assert drawn[some].tolist() == one_by_one == [drawn[position - count] for position in some.tolist()]
    assert drawn[some - count].tolist() == one_by_one
    assert drawn[: count // 2 : max(1, count // 5)].tolist() == [
        drawn[position] for position in range(0, count // 2, max(1, count // 5))
    ]


@pytest.mark.parametrize("index", [3, -4, np.array([0, 3]), np.array([-4])])
def test_there_are_no_more_numbers_than_are_drawn(index: int | np.ndarray) -> None:
    with pytest.raises(IndexError):
        Drawn(7, 3)[index]


def test_all_that_there_are_is_all() -> None:
    assert draw(4, 9).tolist() == [0, 1, 2, 3]


def test_every_choice_is_as_likely_as_any_other() -> None:
    choices = {choice: 0 for choice in itertools.combinations(range(5), 2)}
    for seed in range(2000):
        choices[tuple(draw(5, 2, seed=seed).tolist())] += 1
    chi_square = sum((count - 200) ** 2 / 200 for count in choices.values())
    assert chi_square < 21.7  # 1 % of uniform draws exceed it, with 9 degrees of freedom


def test_a_draw_is_not_what_training_begins_with() -> None:
    first_batch = {index for _, index in next(iter(StepSampler(10**6, 64, total_steps=1, seed=0)))}
    assert not first_batch & set(draw(10**6, 64, seed=0).tolist())
