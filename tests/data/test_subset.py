import pickle
import tracemalloc

import numpy as np
import pytest

from selfsup.data import LabelSets, Scenes, Subset
from selfsup.errors import ConfigError


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


def test_a_share_is_drawn_without_repeats_and_grows_with_the_same_seed(scenes: Scenes) -> None:
    small, large = Subset(scenes, fraction=0.1, seed=3), Subset(scenes, fraction=0.5, seed=3)
    assert len(small) == round(0.1 * len(scenes))
    assert len(set(large.indices)) == len(large)
    assert list(small.indices) == list(large.indices)[: len(small)]
    assert not np.array_equal(small.indices, Subset(scenes, fraction=0.1, seed=4).indices)
    assert len(Subset(scenes, count=17)) == 17
    assert list(Subset(scenes, fraction=1.0).indices) == list(range(len(scenes)))


class Billion:
    """As many images as SEER's, and nothing in memory."""

    classes = None

    def __init__(self) -> None:
        self.labels = np.broadcast_to(np.int64(3), 10**9)

    def __len__(self) -> int:
        return 10**9

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize("share", [{"count": 256}, {"fraction": 0.5}])
def test_a_share_of_a_billion_takes_no_memory_in_any_process(share: dict) -> None:
    tracemalloc.start()
    try:
        subset = Subset(Billion(), **share, seed=1)  # type: ignore[arg-type]
        size = len(subset)
        some = np.linspace(0, size - 1, 256).astype(np.int64)
        assert subset.labels[size - 1] == 3 and subset.labels[some].tolist() == [3] * 256
        drawn = np.array([int(subset.name(position)) for position in some.tolist()])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert len(pickle.dumps(subset.indices)) < 1 << 12  # what a worker process is sent
    assert len(np.unique(drawn)) == 256
    mean, error = drawn.mean() / 1e9, (1 / 12 / 256) ** 0.5
    assert abs(mean - 0.5) < 4 * error


def test_labels_are_looked_up_one_by_one_or_all_at_once(scenes: Scenes) -> None:
    subset = Subset(scenes, fraction=0.3, seed=2)
    expected = scenes.labels[np.array(list(subset.indices))]
    assert len(subset.labels) == len(expected) and int(subset.labels[-1]) == expected[-1]
    np.testing.assert_array_equal(np.asarray(subset.labels), expected)
    np.testing.assert_array_equal(subset.labels[3:40:5], expected[3:40:5])
    np.testing.assert_array_equal(Subset(subset, [4, 0, 4]).labels, expected[[4, 0, 4]])


def test_can_be_built_from_a_dict() -> None:
    subset = Subset(dict(type="Scenes", size=16, variants=1), count=5)
    assert subset.image(4).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "exactly one of"),
        ({"fraction": 0.5, "count": 3}, "exactly one of"),
        ({"fraction": 0.0}, r"fraction: must be in \(0, 1\], got 0.0"),
        ({"count": 10**9}, "count: must be in"),
        ({"indices": [-1]}, "indices: must lie in"),
    ],
)
def test_impossible_choices_are_rejected(scenes: Scenes, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Subset(scenes, **arguments)


def test_the_label_sets_of_the_chosen_images_come_along() -> None:
    class Tagged:
        labels = None
        classes = ("a", "b", "c")
        label_sets = LabelSets(np.array([0, 2, 1, 2]), np.array([0, 2, 3, 4]), 3)

        def __len__(self) -> int:
            return 3

    chosen = Subset(Tagged(), [2, 0, 0]).label_sets  # type: ignore[arg-type]
    assert chosen is not None and len(chosen) == 3
    assert [chosen.row(index).tolist() for index in range(3)] == [[0, 0, 1], [1, 0, 1], [1, 0, 1]]
    nothing = Subset(Tagged(), []).label_sets  # type: ignore[arg-type]
    assert nothing is not None and len(nothing) == 0
    within = Subset(Subset(Tagged(), count=3), [1, 2]).label_sets  # type: ignore[arg-type]
    assert within is not None and within.num_classes == 3
    assert [within.row(index).tolist() for index in range(2)] == [[0, 1, 0], [0, 0, 1]]


def test_the_digest_follows_the_choice_and_the_whole(scenes: Scenes) -> None:
    digest = Subset(scenes, [1, 2]).digest
    assert digest == Subset(Scenes(size=32, background="photo", variants=1), [1, 2]).digest  # drawn otherwise
    others = [Subset(scenes, [2, 1]), Subset(Scenes(size=16, variants=1, seed=1), [1, 2]), Subset(scenes, count=2)]
    assert len({digest, *(other.digest for other in others)}) == 4

    class Unknown:
        labels = classes = None

        def __len__(self) -> int:
            return 3

    assert Subset(Unknown(), [1, 2]).digest is None  # type: ignore[arg-type]
