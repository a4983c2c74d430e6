import pickle
import tracemalloc

import numpy as np
import pytest

from selfsup.data import AllBut, Scenes, Subset
from selfsup.errors import ConfigError


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(size=16, variants=1)


@pytest.mark.parametrize("without", [[], [0], [5, 2, 2, 3], list(range(9)), "the last"])
def test_is_the_data_set_with_these_images_deleted(scenes: Scenes, without: list[int] | str) -> None:
    numbers = [len(scenes) - 1] if isinstance(without, str) else without
    kept = np.delete(np.arange(len(scenes)), np.unique(np.asarray(numbers, int)))
    rest = AllBut(scenes, numbers)
    assert len(rest) == len(kept)
    np.testing.assert_array_equal(rest.original(np.arange(len(rest))), kept)
    np.testing.assert_array_equal(rest.image(4), scenes.image(int(kept[4])))
    assert rest.name(len(rest) - 1) == scenes.name(int(kept[-1]))
    assert rest.classes == scenes.classes
    assert rest.labels[3] == scenes.labels[kept[3]]
    np.testing.assert_array_equal(np.asarray(rest.labels), scenes.labels[kept])
    np.testing.assert_array_equal(Subset(rest, [7, 1]).labels, scenes.labels[kept[[7, 1]]])


class Billion:
    classes = None

    def __init__(self, labels: np.ndarray | None) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 10**9


def test_what_is_left_of_a_billion_takes_the_memory_of_what_is_not() -> None:
    whole = Billion(np.broadcast_to(np.int64(3), 10**9))
    tracemalloc.start()
    try:
        rest = AllBut(whole, np.arange(0, 10**9, 10**6))  # type: ignore[arg-type]
        assert rest.labels[999_998_999] == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert len(rest) == len(rest.labels) == 10**9 - 1000
    assert rest.original(np.array([0, 999_998, 999_999, len(rest) - 1])).tolist() == [1, 999_999, 1_000_001, 10**9 - 1]


def test_without_labels_the_rest_has_none() -> None:
    assert AllBut(Billion(None), [1]).labels is None  # type: ignore[arg-type]


def test_workers_are_given_the_same(scenes: Scenes) -> None:
    rest = pickle.loads(pickle.dumps(AllBut(scenes, [0, 2])))
    assert rest.original(np.arange(3)).tolist() == [1, 3, 4]


def test_images_that_are_not_there_are_rejected(scenes: Scenes) -> None:
    with pytest.raises(ConfigError, match=rf"AllBut.without: must lie in \[0, {len(scenes)}\), got -1 to 4"):
        AllBut(scenes, [4, -1])
    with pytest.raises(IndexError, match=f"there are {len(scenes) - 1} images"):
        AllBut(scenes, [4]).image(len(scenes) - 1)
