import numpy as np
import pytest

from selfsup.data import Hierarchy
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import Task
from selfsup.testing import check_task
from tests.evaluation.pictures import Blobs


def names(source: object) -> set[str]:
    return {source.name(index) for index in range(len(source))}  # type: ignore[attr-defined, arg-type]


def test_val_is_cut_from_train_by_class_and_by_group() -> None:
    parts = Task(train=Blobs(120, groups=2), test=Blobs(30, prefix="test")).parts
    assert len(parts.train) + len(parts.val) == 120
    assert 15 <= len(parts.val) <= 33
    assert not set(np.asarray(parts.train.groups)) & set(np.asarray(parts.val.groups))
    check_task(Task(train=Blobs(120), test=Blobs(30, prefix="test")))


def test_watching_sees_val_in_place_of_test() -> None:
    task = Task(train=Blobs(120), test=Blobs(30, prefix="test"))
    watched = task.watch()
    assert names(watched.parts.test) == names(task.parts.val)
    assert names(watched.parts.train) | names(watched.parts.val) == names(task.parts.train)
    own = Blobs(40, prefix="val")
    assert Task(train=Blobs(60), val=own, test=Blobs(30, prefix="test")).watch().parts.test.name(3) == "val 3"


def test_the_hierarchy_of_the_source_is_that_of_its_parts_too() -> None:
    train = Blobs(120)
    train.taxonomy = Hierarchy(("kind",), {name: ("blob",) for name in train.classes or ()})  # type: ignore[attr-defined]
    task = Task(train=train, test=Blobs(30, prefix="test"), hierarchy="source").watch()
    assert task.tree.levels == ("kind",)


def test_classes_are_joined_by_name_and_the_missing_ones_named() -> None:
    train, test = Blobs(30), Blobs(30, prefix="test")
    train.classes, test.classes = ["a", "c", "b"], ["b", "d", "a"]
    parts = Task(train=train, test=test).parts
    assert list(parts.train.classes) == list(parts.test.classes)
    for source, part in ((test, parts.test),):
        spelled = [part.classes[label] for label in np.asarray(part.labels)]
        assert spelled == [source.classes[label] for label in source.labels]
    assert parts.missing == ("d",)


def test_unlabelled_images_are_neither_learned_from_nor_evaluated() -> None:
    parts = Task(train=Blobs(60, unlabelled=(0, 5)), test=Blobs(30, prefix="test", unlabelled=(1, 2))).parts
    assert len(parts.test) == 28
    assert not {"blob 0", "blob 5"} & (names(parts.train) | names(parts.val))
    with pytest.raises(DataError, match="none of 4 images is labelled"):
        Task(train=Blobs(60), test=Blobs(4, prefix="test", unlabelled=(0, 1, 2, 3))).parts  # noqa: B018


def test_what_an_evaluator_needs_decides_whether_the_task_fits() -> None:
    labels, train = frozenset({"labels"}), frozenset({"labels", "train"})
    whole = Task(train=Blobs(60), test=Blobs(30, prefix="test"))
    assert whole.fits(train) is None
    assert Task(test=Blobs(30)).fits(labels) is None
    assert "nothing to learn" in (Task(test=Blobs(30)).fits(train) or "")
    assert "no labels" in (Task(test=Blobs(30, labelled=False)).fits(labels) or "")
    assert Task(test=Blobs(30, labelled=False)).fits(frozenset()) is None
    assert "hierarchy" in (whole.fits(frozenset({"hierarchy"})) or "")


def test_several_tests_are_several_tasks_with_the_same_training_images() -> None:
    tests = {"clean": Blobs(30, prefix="clean"), "noisy": Blobs(30, noise=90, prefix="noisy")}
    first, second = Task("blobs", train=Blobs(60), test=tests).tests()
    assert (first.name, second.name) == ("blobs/clean", "blobs/noisy")
    assert first.parts.test.name(0) == "clean 0"
    assert names(first.parts.train) == names(second.parts.train)


def test_more_training_images_than_wanted_are_left_out() -> None:
    parts = Task(train=Blobs(120), test=Blobs(30, prefix="test"), max_train=50).parts
    assert len(parts.train) + len(parts.val) == 50


@pytest.mark.parametrize("wrong", [{"val": 0.0}, {"val": 1.0}, {"max_train": 1}])
def test_senseless_numbers_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Task(**wrong)


def test_without_training_images_a_training_watches_val_and_never_test() -> None:
    val, test = ({"type": "Scenes", "split": split, "size": 16, "variants": 1} for split in ("val", "test"))
    watched = Task(val=val, test=test).watch(max_images=5).parts.test
    assert len(watched) == 5
    held_out = Task(test=val).parts.test
    assert {watched.name(index) for index in range(5)} <= {held_out.name(index) for index in range(len(held_out))}
