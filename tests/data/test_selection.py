import itertools
import pickle
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from selfsup.data import AllBut, LabelSets, Scenes, Subset
from selfsup.data.draws import Drawn, draw
from selfsup.data.sampler import StepSampler
from selfsup.data.selection import labelled
from selfsup.errors import ConfigError, DataError
from tests.data.listed import Listed


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(size=16, variants=1)


def test_indices_keep_their_order_and_meaning(scenes: Scenes) -> None:
    subset = Subset(scenes, [500, 3, 3])
    assert len(subset) == 3
    np.testing.assert_array_equal(subset.image(0), scenes.image(500))
    assert subset.name(1) == scenes.name(3)
    np.testing.assert_array_equal(subset.labels, scenes.labels[[500, 3, 3]])
    assert subset.classes == scenes.classes
    built = Subset(dict(type="Scenes", size=16, variants=1), count=5)
    assert built.image(4).shape == (16, 16, 3)


def test_a_share_is_drawn_without_repeats_and_grows_with_the_same_seed(scenes: Scenes) -> None:
    small, large = Subset(scenes, fraction=0.1, seed=3), Subset(scenes, fraction=0.5, seed=3)
    assert len(small) == round(0.1 * len(scenes))
    assert list(small.indices) == list(large.indices)[: len(small)]
    assert not np.array_equal(small.indices, Subset(scenes, fraction=0.1, seed=4).indices)
    assert len(Subset(scenes, count=17)) == 17
    assert list(Subset(scenes, fraction=1.0).indices) == list(range(len(scenes)))


def test_subsets_of_one_seed_are_nested_whatever_their_sizes(scenes: Scenes) -> None:
    rng = np.random.default_rng(0)
    for seed in range(5):
        counts = np.unique(rng.integers(1, len(scenes) + 1, 8)).tolist()
        drawn = [set(np.asarray(Subset(scenes, count=count, seed=seed).indices).tolist()) for count in counts]
        assert [len(each) for each in drawn] == counts
        assert all(small < large for small, large in pairwise(drawn))


class Billion:
    """As many images as SEER's, and nothing in memory."""

    classes = None

    def __init__(self) -> None:
        self.labels = np.broadcast_to(np.int64(3), 10**9)

    def __len__(self) -> int:
        return 10**9

    def name(self, index: int) -> str:
        return str(index)


@contextmanager
def less_than_a_megabyte() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("share", [{"count": 256}, {"fraction": 0.5}])
def test_a_share_of_a_billion_takes_no_memory_in_any_process(share: dict) -> None:
    with less_than_a_megabyte():
        subset = Subset(Billion(), **share, seed=1)  # type: ignore[arg-type]
        size = len(subset)
        some = np.linspace(0, size - 1, 256).astype(np.int64)
        assert subset.labels[size - 1] == 3 and subset.labels[some].tolist() == [3] * 256
        drawn = np.array([int(subset.name(position)) for position in some.tolist()])
    assert len(pickle.dumps(subset.indices)) < 1 << 12  # what a worker process is sent
    assert len(np.unique(drawn)) == 256
    mean, error = drawn.mean() / 1e9, (1 / 12 / 256) ** 0.5
    assert abs(mean - 0.5) < 4 * error


def test_all_but_some_of_a_billion_takes_the_memory_of_those() -> None:
    with less_than_a_megabyte():
        rest = Subset(Billion(), AllBut(10**9, np.arange(0, 10**9, 10**6)))
        assert rest.labels[999_998_999] == 3
    assert len(rest) == len(rest.labels) == 10**9 - 1000
    some = np.array([0, 999_998, 999_999, len(rest) - 1])
    assert rest.indices[some].tolist() == [1, 999_999, 1_000_001, 10**9 - 1]


def test_labels_are_looked_up_one_by_one_or_all_at_once(scenes: Scenes) -> None:
    subset = Subset(scenes, fraction=0.3, seed=2)
    expected = scenes.labels[np.array(list(subset.indices))]
    assert len(subset.labels) == len(expected) and int(subset.labels[-1]) == expected[-1]
    np.testing.assert_array_equal(np.asarray(subset.labels), expected)
    np.testing.assert_array_equal(subset.labels[3:40:5], expected[3:40:5])
    np.testing.assert_array_equal(Subset(subset, [4, 0, 4]).labels, expected[[4, 0, 4]])


def test_the_label_sets_of_the_chosen_images_come_along() -> None:
    tagged = Listed("abc")
    tagged.labels = LabelSets(np.array([0, 2, 1, 2]), np.array([0, 2, 3, 4]), 3)  # type: ignore[assignment]
    for chosen, expected in (
        (Subset(tagged, [2, 0, 0]), [[0, 0, 1], [1, 0, 1], [1, 0, 1]]),
        (Subset(tagged, AllBut(3, [1])), [[1, 0, 1], [0, 0, 1]]),
        (Subset(Subset(tagged, count=3), [1, 2]), [[0, 1, 0], [0, 0, 1]]),
        (Subset(tagged, []), []),
    ):
        assert chosen.labels.num_classes == 3 and len(chosen.labels) == len(expected)
        assert [chosen.labels[index].tolist() for index in range(len(chosen))] == expected
    assert labelled(tagged) is tagged


def test_the_labelled_images_are_those_that_have_a_label() -> None:
    some, whole, without = Listed("abcd", [-1, 0, -1, 1]), Listed("ab", [0, 1]), Listed("ab")
    found = labelled(some)
    assert [found.name(index) for index in range(len(found))] == ["b", "d"]
    assert labelled(whole) is whole and labelled(without) is without


def test_groups_files_and_targets_come_along_where_there_are_any() -> None:
    whole = Listed("abcd", groups=[5, 6, 7, 8])
    whole.file, whole.targets = "/photos/{}".format, lambda index: {"boxes": index}  # type: ignore[attr-defined]
    chosen = pickle.loads(pickle.dumps(Subset(Scenes("test", size=16, variants=1), [9, 3])))
    assert np.asarray(chosen.groups).tolist() == Scenes("test", size=16, variants=1).groups[[9, 3]].tolist()
    part = Subset(Subset(whole, AllBut(4, [0])), [2, 0])
    assert np.asarray(part.groups).tolist() == [8, 6]
    assert part.file is not None and part.file(1) == "/photos/1"
    assert part.targets is not None and part.targets(0) == {"boxes": 3}
    bare = Subset(Listed("abcd"), [1])
    assert bare.file is None and bare.targets is None and bare.groups is None and bare.labels is None


def test_the_digest_follows_the_choice_and_the_whole(scenes: Scenes) -> None:
    digest = Subset(scenes, [1, 2]).digest
    assert digest == Subset(Scenes(size=32, background="photo", variants=1), [1, 2]).digest  # drawn otherwise
    others = [Subset(scenes, [2, 1]), Subset(Scenes(size=16, variants=1, seed=1), [1, 2]), Subset(scenes, count=2)]
    assert len({digest, *(other.digest for other in others)}) == 4
    assert Subset(Listed("abc"), [1, 2]).digest is None
    assert Subset(scenes, AllBut(len(scenes), [3])).digest != Subset(scenes, AllBut(len(scenes), [4])).digest


@pytest.mark.parametrize("without", [[], [0], [5, 2, 2, 3], list(range(9)), [49]])
def test_all_but_some_is_the_source_with_these_images_deleted(scenes: Scenes, without: list[int]) -> None:
    whole = Subset(scenes, range(50))
    kept = np.delete(np.arange(50), np.unique(np.asarray(without, int)))
    rest = pickle.loads(pickle.dumps(Subset(whole, AllBut(50, without))))
    assert len(rest) == len(kept)
    np.testing.assert_array_equal(rest.indices, kept)
    np.testing.assert_array_equal(rest.image(4), scenes.image(int(kept[4])))
    assert rest.name(len(rest) - 1) == scenes.name(int(kept[-1]))
    np.testing.assert_array_equal(rest.labels, scenes.labels[kept])


@pytest.mark.parametrize("index", [3, -4, np.array([0, 3]), np.array([-4])])
def test_numbers_that_are_not_there_are_rejected(index: int | np.ndarray) -> None:
    for numbers in (Drawn(7, 3), AllBut(4, [1])):
        with pytest.raises(IndexError):
            numbers[index]
    with pytest.raises(ConfigError, match=r"without: must lie in \[0, 9\), got -1 to 4"):
        AllBut(9, [4, -1])


@pytest.mark.parametrize("length, count", [(1, 1), (7, 3), (7, 7), (1000, 999), (10**9, 500)])
def test_drawn_numbers_are_different_and_the_same_one_by_one_and_together(length: int, count: int) -> None:
    ascending = draw(length, count, seed=5)
    assert ascending.dtype == np.int64 and len(ascending) == count
    assert ascending[0] >= 0 and ascending[-1] < length and (np.diff(ascending) > 0).all()
    drawn = Drawn(length, count, seed=5)
    some = np.unique(np.linspace(0, count - 1, 40).astype(np.int64))
    part = slice(0, count // 2, max(1, count // 5))
    one_by_one = [drawn[position] for position in some.tolist()]
    assert drawn[some].tolist() == one_by_one == [drawn[position - count] for position in some.tolist()]
    assert drawn[some - count].tolist() == one_by_one
    assert drawn[part].tolist() == [drawn[position] for position in range(count)[part]]


def test_every_choice_is_as_likely_as_any_other() -> None:
    choices = {choice: 0 for choice in itertools.combinations(range(5), 2)}
    for seed in range(2000):
        choices[tuple(draw(5, 2, seed=seed).tolist())] += 1
    assert draw(4, 9).tolist() == [0, 1, 2, 3]
    chi_square = sum((count - 200) ** 2 / 200 for count in choices.values())
    assert chi_square < 21.7  # 1 % of uniform draws exceed it, with 9 degrees of freedom


def test_a_draw_is_not_what_training_begins_with() -> None:
    first_batch = {index for _, index in next(iter(StepSampler(10**6, 64, total_steps=1, seed=0)))}
    assert not first_batch & set(draw(10**6, 64, seed=0).tolist())


def test_images_are_drawn_from_every_class_and_smaller_draws_are_contained_in_larger_ones() -> None:
    scenes = Scenes("test", size=8, variants=1)
    few, more = (Subset(scenes, per_class=count, seed=3) for count in (2, 5))
    for subset, count in ((few, 2), (more, 5)):
        numbers, counts = np.unique(np.asarray(subset.labels), return_counts=True)
        assert len(numbers) == 9 and set(counts) == {count}
    assert set(few.indices.tolist()) < set(more.indices.tolist())
    other = Subset(scenes, per_class=2, seed=4)
    assert set(other.indices.tolist()) != set(few.indices.tolist())
    share = Subset(scenes, fraction=0.1, stratified=True)
    whole = np.bincount(np.asarray(scenes.labels))
    assert np.bincount(np.asarray(share.labels)).tolist() == np.maximum(1, np.rint(0.1 * whole)).astype(int).tolist()
    with pytest.raises(DataError) as caught:
        Subset(scenes, per_class=1000)
    assert caught.value.problems[0].got == 1000


def test_a_draw_with_replacement_is_even_and_does_not_depend_on_how_it_is_asked_for() -> None:
    scenes = Scenes("test", size=8, variants=1)
    again = Subset(scenes, count=20_000, replacement=True, seed=1)
    assert len(again) == 20_000
    numbers = again.indices[:]
    assert [again.indices[place] for place in (0, 7, 19_999)] == numbers[[0, 7, 19_999]].tolist()
    counts = np.bincount(numbers, minlength=len(scenes))
    expected = 20_000 / len(scenes)
    assert abs(((counts - expected) ** 2 / expected).sum() - len(scenes)) < 5 * (2 * len(scenes)) ** 0.5
