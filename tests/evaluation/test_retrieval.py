"""Retrieval against rankings by explicit loops."""

import numpy as np
import pytest
import torch

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import RawPixels, Representation, Retrieval, Task
from selfsup.evaluation.protocols.retrieval import rankings
from selfsup.testing import check_evaluator
from tests.evaluation.pictures import SMALL, Blobs


def by_loops(similar: np.ndarray, labels: np.ndarray, apart: np.ndarray, k: int) -> list[tuple[float, float, float]]:
    """Hit among the first k, average precision, average precision at R, for every query."""
    found = []
    for query in range(len(labels)):
        others = [each for each in range(len(labels)) if apart[each] != apart[query]]
        ranked = sorted(others, key=lambda each: (-similar[query, each], each))
        right = [labels[each] == labels[query] for each in ranked]
        total = sum(right)
        precisions = [sum(right[: place + 1]) / (place + 1) for place in range(len(right)) if right[place]]
        at_r = sum(sum(right[: place + 1]) / (place + 1) for place in range(total) if right[place])
        found.append((float(any(right[:k])), sum(precisions) / max(1, total), at_r / max(1, total)))
    return found


@pytest.mark.parametrize("blocks", [1, 7, 10_000])
@pytest.mark.parametrize("grouped", [False, True])
def test_rankings_are_those_of_explicit_loops_whatever_the_blocks(blocks: int, grouped: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 40)
    labels[0] = 9  # alone in its class
    features = torch.tensor(rng.integers(-1, 2, (40, 3)), dtype=torch.float32)  # many are equally similar
    apart = np.arange(40) // 4 if grouped else np.arange(40)
    hits, average, at_r, relevant = rankings(
        features, torch.tensor(labels), torch.tensor(apart), (1, 3), similarities=blocks * 40
    )
    similar = (features @ features.T).numpy()
    for number, k in enumerate((1, 3)):
        expected = np.array(by_loops(similar, labels, apart, k))
        np.testing.assert_allclose(hits[:, number], expected[:, 0])
    np.testing.assert_allclose(average, expected[:, 1])
    np.testing.assert_allclose(at_r, expected[:, 2])
    assert relevant[0] == 0


def test_a_copy_of_an_image_is_an_answer_but_the_image_itself_is_not() -> None:
    features = torch.eye(4).repeat_interleave(2, dim=0)
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    hits, *_ = rankings(features, labels, torch.arange(8), (1,))
    assert hits[:, 0].tolist() == [True, True] + [False] * 6


def test_macro_and_micro_differ_where_classes_are_unequal_and_lonely_images_are_noted() -> None:
    test = Blobs(60, noise=100)
    test.labels = np.array([3] + [0] * 44 + [1] * 15)
    test.classes = [f"class {number}" for number in range(4)]
    result = Retrieval(k=(1,)).evaluate(Representation(RawPixels(2), SMALL), Task(test=test))
    assert set(result.scores) == {f"{name}{end}" for name in ("r1", "map", "map_r") for end in ("", "_per_class")}
    assert result.scores["map"].value != result.scores["map_per_class"].value and result.scores["map"].n == 59
    assert result.notes[0].startswith("1 images")


def test_it_fulfills_the_contract() -> None:
    check_evaluator(Retrieval(), Task(test=Blobs(40)), input_contract=SMALL)


def test_images_that_have_no_other_of_their_class_are_rejected_before_anything_is_computed() -> None:
    with pytest.raises(DataError) as error:
        Retrieval().evaluate(None, Task("few", test=Blobs(3)))  # type: ignore[arg-type]
    assert error.value.problems[0].path == "tasks.few.test"
    for wrong in (dict(k=()), dict(k=(0,)), dict(exclude="copies")):
        with pytest.raises(ConfigError):
            Retrieval(**wrong)
