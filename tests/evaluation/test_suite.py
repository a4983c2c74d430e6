from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.data.selection import draw
from selfsup.errors import ConfigError
from selfsup.evaluation import KNN, Evaluator, FeatureEvaluator, LinearProbe, RawPixels, Spread, Suite, held_out_parts
from selfsup.registry import DATASETS, EVALUATORS
from tests.evaluation.pictures import Blobs


class Counting(RawPixels):
    """Counts the images it is shown."""

    seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return super().forward(images)


class Constant:
    """An evaluator that is no feature evaluator."""

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        return {"answer": 42.0}


def test_scores_are_those_of_the_evaluators_alone_and_each_image_is_shown_once() -> None:
    images = Blobs(80)
    evaluators = {"knn": {"type": "KNN"}, "linear": {"type": "LinearProbe"}, "features": {"type": "Spread"}}
    backbone = Counting(2)
    scores = Suite(evaluators, images=images, size=16, resize=16).evaluate(backbone)
    assert backbone.seen == 80
    train, test = held_out_parts(images, max_images=4000, test_share=0.25, seed=0)
    for name, alone in {
        "knn": KNN(train, test, size=16, resize=16),
        "linear": LinearProbe(train, test, size=16, resize=16),
        "features": Spread(test, size=16, resize=16),
    }.items():
        expected = {f"{name}/{key}": value for key, value in alone.evaluate(backbone).items()}
        assert {key: value for key, value in scores.items() if key.startswith(name)} == expected


def test_without_labels_only_what_needs_none_is_left() -> None:
    suite = Suite(
        {"knn": {"type": "KNN"}, "spread": {"type": "Spread"}}, images=Blobs(20, labelled=False), size=16, resize=16
    )
    assert suite.skipped == {"knn": "no labelled images are held out"}
    assert all(name.startswith("spread/") for name in suite.evaluate(RawPixels(2)))


def test_images_that_cannot_be_decoded_are_named_once_for_all_evaluations() -> None:
    said: list[str] = []
    suite = Suite({"spread": {"type": "Spread", "test": Blobs(20, bad=(3,)), "size": 16, "resize": 16}})
    for _ in range(2):
        suite.evaluate(RawPixels(2), log=said.append)
    assert said == ["1 of 20 images could not be decoded and were left out: blob 3"]


def test_what_an_evaluator_rejects_is_said_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^evaluators\.near\.k: must be"):
        Suite({"near": {"type": "KNN", "k": 0}}, images=Blobs(20))


def test_an_evaluator_with_images_of_its_own_is_not_skipped() -> None:
    own = {"type": "KNN", "train": Blobs(30), "test": Blobs(12, seed=1), "size": 16, "resize": 16}
    suite = Suite({"knn": own}, images=Blobs(20, labelled=False))
    assert not suite.skipped
    assert suite.evaluate(RawPixels(2))["knn/top1"] > 0.8


def test_equal_dicts_of_images_are_built_and_shown_once() -> None:
    class Listed(Blobs):
        built = 0

        def __init__(self, count: int) -> None:
            Listed.built += 1
            super().__init__(count)

    DATASETS.register_module(name="Listed", module=Listed, force=True)
    train, test = {"type": "Listed", "count": 30}, {"type": "Listed", "count": 12}
    evaluators = {
        name: {"type": kind, "train": train, "test": test, "size": 16, "resize": 16}
        for name, kind in (("a", "KNN"), ("b", "LinearProbe"))
    }
    backbone = Counting(2)
    Suite(evaluators).evaluate(backbone)
    assert Listed.built == 2
    assert backbone.seen == 42


def test_an_evaluators_own_size_wins_over_the_suites() -> None:
    suite = Suite({"a": {"type": "Spread", "size": 8}, "b": {"type": "Spread"}}, images=Blobs(20), size=16, resize=20)
    assert suite.evaluators["a"].sources[0].size == 8
    assert suite.evaluators["b"].sources[0].size == 16
    assert suite.evaluators["b"].sources[0].resize == 20


def test_any_evaluator_can_be_part() -> None:
    assert Suite({"constant": Constant()}).evaluate(RawPixels(2)) == {"constant/answer": 42.0}
    assert isinstance(Constant(), Evaluator)
    assert not isinstance(Constant(), FeatureEvaluator)
    assert isinstance(Suite({}), Evaluator)


@pytest.mark.parametrize(
    "found, got",
    [({"answer": "high"}, "str as 'answer'"), ({"answer": None}, "NoneType as 'answer'"), (0.5, "float")],
)
def test_an_evaluator_that_finds_no_numbers_is_named(found: Any, got: str) -> None:
    class Other:
        def evaluate(self, backbone: nn.Module) -> Any:
            return found

    with pytest.raises(ConfigError) as caught:
        Suite({"mine": Other()}).evaluate(RawPixels(2))
    assert str(caught.value) == f"evaluators.mine: Other must return a dict of numbers, got {got}"


def test_images_that_are_nowhere_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="missing a required argument: 'train'"):
        Suite({"knn": {"type": "KNN"}})


def test_the_part_to_be_judged_on_is_fixed_stratified_and_bounded() -> None:
    images = Blobs(300, num_classes=3)
    train, test = held_out_parts(images, max_images=90, test_share=0.5, seed=0)
    assert np.bincount(train.labels).tolist() == np.bincount(test.labels).tolist() == [15, 15, 15]
    assert not set(train.indices) & set(test.indices)
    again, _ = held_out_parts(images, max_images=90, test_share=0.5, seed=0)
    assert np.array_equal(again.indices, train.indices)


def test_no_more_images_are_used_than_allowed_however_many_classes_there_are() -> None:
    train, test = held_out_parts(Blobs(300, num_classes=100), max_images=60, test_share=0.25, seed=0)
    assert len(train) + len(test) == 60


def test_there_is_something_to_be_judged_on_when_every_image_is_the_only_one_of_its_class() -> None:
    train, test = held_out_parts(Blobs(8, num_classes=8), max_images=8, test_share=0.25, seed=0)
    assert (len(train), len(test)) == (6, 2)


def test_the_parts_of_a_split_are_taken_where_they_are_given_and_nothing_where_they_are_not() -> None:
    parts = Blobs(30), Blobs(12, seed=1)
    suite = Suite({"knn": {"type": "KNN"}}, images=Blobs(100), size=16, own=parts)
    assert suite.uses_own and tuple(source.dataset for source in suite.evaluators["knn"].sources) == parts  # type: ignore[attr-defined]
    assert list(Suite({"knn": {"type": "KNN"}}, images=Blobs(100), size=16, own=()).skipped) == ["knn"]


def test_of_very_many_labels_only_a_draw_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.evaluation.suite._MOST_LABELS", 1000)
    images = Blobs(20_000, num_classes=4, side=1)
    seen: list[int] = []

    class Watched(np.ndarray):
        def __getitem__(self, key: object) -> object:
            seen.append(len(key))  # type: ignore[arg-type]
            return super().__getitem__(key)  # type: ignore[index]

    images.labels = images.labels.view(Watched)
    train, test = held_out_parts(images, max_images=400, test_share=0.5, seed=0)
    assert seen == [1000]
    counts = np.bincount(np.asarray(images.labels)[train.indices])
    drawn = np.bincount(np.asarray(images.labels)[draw(20_000, 1000, seed=0)])
    np.testing.assert_allclose(counts, drawn / 5, atol=1.5)  # shares as in the draw
    assert train.indices.max() > 15_000 and test.indices.min() < 5000


@pytest.mark.parametrize(
    "wrong, message",
    [({"max_images": 1}, "Suite.max_images: must be > 1, got 1"), ({"test_share": 1.0}, r"must be inside \(0, 1\)")],
)
def test_senseless_parts_are_rejected(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Suite({}, images=Blobs(20), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["KNN", "LinearProbe", "Spread"])
def test_registered_evaluators_draw_no_random_numbers_and_repeat_themselves(name: str) -> None:
    images = Blobs(40)
    train, test = held_out_parts(images, max_images=100, test_share=0.5, seed=0)
    parts = {"test": test} if name == "Spread" else {"train": train, "test": test}
    evaluator = EVALUATORS.build({"type": name, "size": 16, "resize": 16, **parts})
    torch.manual_seed(2)
    state = torch.get_rng_state()
    first = evaluator.evaluate(RawPixels(2))
    assert evaluator.evaluate(RawPixels(2)) == first
    assert torch.equal(torch.get_rng_state(), state)
