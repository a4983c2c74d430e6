"""Corruptions and subsets of classes: one fitted predictor, counted as the papers count."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.data import BoxCrops, ImageNetC
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import (
    KNN,
    Classifier,
    ClassSubset,
    Corruptions,
    Features,
    Fusion,
    LinearProbe,
    RawPixels,
    Representation,
    Task,
)
from selfsup.evaluation.protocols.robustness import ALEXNET_ERRORS, corrupted
from selfsup.testing import check_evaluator
from tests.evaluation.pictures import SMALL, Blobs

TASK = Task(train=Blobs(90, noise=40), test=Blobs(60, noise=40, seed=1, prefix="test", groups=2))
SHOWN = Representation(RawPixels(2), SMALL)


class Counting(KNN):
    fits = 0

    def fit(self, train: Features, val: Features | None) -> Any:
        Counting.fits += 1
        return super().fit(train, val)


def test_one_predictor_is_fitted_and_accuracies_are_means_over_severities() -> None:
    Counting.fits = 0
    evaluator = Corruptions(["impulse_noise", "contrast", "downsample_4x"], severities=(1, 5), probe=Counting(k=5))
    result = evaluator.evaluate(SHOWN, TASK)
    assert Counting.fits == 1
    predictor = Counting(k=5).predictor(SHOWN, TASK)
    found = []
    for severity in (1, 5):
        test = corrupted(SHOWN, TASK.parts.test, ImageNetC("contrast", severity))
        found.append((predictor(test.features).argmax(1) == test.labels).double().mean().item())
    scores = result.scores
    assert scores["contrast"].value == pytest.approx(np.mean(found)) and scores["contrast"].spread == "groups"
    assert scores["drop/contrast"].value == pytest.approx(1 - np.mean(found) / scores["clean"].value)
    assert scores["mean"].value == pytest.approx(
        np.mean([scores[name].value for name in ("impulse_noise", "contrast", "downsample_4x")])
    )
    assert "mce" not in scores and any("downsample_4x" in note and "down='box'" in note for note in result.notes)
    assert result.predictions is not None and result.predictions.right.mean() == scores["clean"].value


class Photographs(Blobs):
    """Test images of ImageNet's 1,000 classes, as far as names go."""

    def __init__(self, count: int = 8) -> None:
        super().__init__(count)
        self.classes = [f"n{number:08}" for number in range(1000)]


def test_the_mean_corruption_error_is_there_for_imagenet_alone() -> None:
    classes = Photographs().classes
    assert classes is not None
    always_first = Classifier(
        RawPixels(2),
        SMALL,
        head=lambda features: torch.eye(1000)[torch.zeros(len(features), dtype=int)],
        classes=classes,
    )
    scores = Corruptions("imagenet-c").evaluate(always_first, Task(test=Photographs())).scores
    share = np.mean(Photographs().labels == 0)
    assert scores["mce"].value == pytest.approx(np.mean([(1 - share) / error for error in ALEXNET_ERRORS.values()]))
    assert (
        "mce" not in Corruptions("imagenet-c", severities=(1,)).evaluate(always_first, Task(test=Photographs())).scores
    )


def test_a_fusion_is_corrupted_as_each_of_its_parts_sees_the_image() -> None:
    large = Representation(RawPixels(4), SMALL.replace(size=8, resize="square"))
    noise = ImageNetC("gaussian_noise", 3)
    joined = corrupted(Fusion(SHOWN, large), TASK.parts.test, noise).features
    parts = [corrupted(each, TASK.parts.test, noise).features for each in (SHOWN, large)]
    assert torch.equal(joined, torch.cat(parts, dim=1))


def test_they_fulfill_the_contract() -> None:
    for evaluator in (
        Corruptions(["contrast"], severities=(1, 2), probe=dict(type="KNN", k=5)),
        ClassSubset(probe=dict(type="KNN", k=5)),
    ):
        check_evaluator(evaluator, TASK, input_contract=SMALL, unbounded=("drop*",))


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (lambda: Corruptions("fogg"), "kinds"),
        (lambda: Corruptions([]), "kinds"),
        (lambda: Corruptions(severities=(0,)), "severities"),
        (lambda: Corruptions().evaluate(SHOWN, TASK), "probe"),
        (lambda: ClassSubset().evaluate(SHOWN, TASK), "probe"),
    ],
)
def test_what_cannot_be_evaluated_is_rejected(wrong: Any, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        wrong()
    assert error.value.problems[0].path == path


LOGITS = torch.tensor([[5.0, 4, 3, 2, 1, 0, -1], [0, 1, 2, 3, 4, 5, 6], [3, 0, 0, 2, 0, 0, 1]])


class Three(Blobs):
    def __init__(self, *classes: str) -> None:
        super().__init__(3)
        self.classes = list(classes)


def subset(test: Any, mapping: Any = None, **options: Any) -> Any:
    """Scores of a classifier of the classes a to g that gives LOGITS for the three images."""
    classifier = Classifier(RawPixels(2), SMALL, head=lambda features: LOGITS[: len(features)], classes="abcdefg")
    return ClassSubset(mapping, **options).evaluate(classifier, Task("some", test=test))


def test_any_class_that_a_test_class_stands_for_is_right_and_all_classes_compete() -> None:
    result = subset(Three("mug", "chair", "lamp"), {"mug": ["b", "c"], "chair": "g", "lamp": ["d", "e"]})
    assert result.scores["top1"].value == pytest.approx(1 / 3)  # chair; a wins over b and over d
    assert result.scores["top5"].value == 1
    names = [result.predictions.class_names[number] for number in result.predictions.predicted]
    assert names == ["a", "chair", "a"]


def test_restricted_only_classes_that_stand_for_something_compete() -> None:
    mapping = {"mug": ["b", "c"], "chair": "g", "lamp": ["d", "e"]}
    assert subset(Three("mug", "chair", "lamp"), mapping, restrict=True).scores["top1"].value == 1


def test_classes_are_found_by_name_by_number_and_those_that_stand_for_none_are_left_out() -> None:
    named = subset(Three("a", "g", "unheard of"))
    assert (named.scores["top1"].n, named.scores["top1"].value) == (2, 1) and "1 images" in named.notes[0]
    assert subset(Three("0", "6", "3"), "number").scores["top1"].value == pytest.approx(2 / 3)
    with pytest.raises(DataError) as error:
        subset(Three("x", "y", "z"))
    assert error.value.problems[0].path == "tasks.some.test"
    with pytest.raises(DataError) as error:
        subset(Three("x", "y", "z"), {"x": "h"})
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("mapping", "h")


def test_the_files_of_objectnet_give_numbers_of_imagenet(tmp_path: Path) -> None:
    """Their form, with three of ImageNet's classes instead of a thousand."""
    files = {
        "folder_to_objectnet_label.json": {"coffee_mug": "Mug", "alarm_clock": "Alarm clock", "spatula_2": "Spatula"},
        "objectnet_to_imagenet_1k.json": {
            "Mug": "coffee mug",
            "Alarm clock": "analog clock; digital clock, clock radio",
        },
        "pytorch_to_imagenet_2012_id.json": {"0": 2, "1": 0, "2": 1},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    lines = tmp_path / "imagenet_to_label_2012_v2"
    lines.write_text("analog clock\ndigital clock, clock radio\ncoffee mug\n")
    assert ClassSubset(tmp_path).mapping == {"coffee_mug": [0], "alarm_clock": [1, 2]}
    lines.write_text("analog clock\ncoffee mug\n")
    with pytest.raises(DataError) as error:
        ClassSubset(tmp_path)
    assert error.value.problems[0].got == "digital clock, clock radio"
    lines.unlink()
    with pytest.raises(DataError) as error:
        ClassSubset(tmp_path)
    assert error.value.problems[0].got == str(lines)


def test_a_probe_learns_all_classes_and_is_tested_on_some() -> None:
    test = Blobs(30, num_classes=2, noise=40, seed=3, prefix="test")
    task = Task(train=TASK.train, test=test)
    result = ClassSubset(probe=LinearProbe()).evaluate(SHOWN, task)
    alone = LinearProbe().evaluate(SHOWN, task)
    assert result.scores["top1"] == alone.scores["top1"] and result.chosen == alone.chosen
    assert result.predictions is not None and set(result.predictions.predicted.tolist()) == {0, 1, 2}
    restricted = ClassSubset(probe=LinearProbe(), restrict=True).evaluate(SHOWN, task)
    assert restricted.predictions is not None and set(restricted.predictions.predicted.tolist()) == {0, 1}
    numbered = Blobs(30, num_classes=2, noise=40, seed=3, prefix="test")
    numbered.classes = ["0", "1"]
    task = Task(train=TASK.train, test=numbered)
    assert ClassSubset("number", probe=LinearProbe()).evaluate(SHOWN, task).scores["top1"] == alone.scores["top1"]
    assert ClassSubset(probe=LinearProbe()).needs == {"labels", "train"} and ClassSubset().needs == {"labels"}


def test_boxes_cut_images_and_those_without_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["name", "left", "top", "right", "bottom"], ["blob 3", 2, 4, 8, 10], ["blob 3", 3, 5, 9, 9]])
    blobs = Blobs(5, prefix="folder/blob")
    cut = BoxCrops(blobs, path)
    assert (len(cut), cut.name(0), cut.labels.tolist()) == (1, "folder/blob 3", [0])
    assert np.array_equal(cut.image(0), blobs.image(3)[4:10, 2:9])
    assert BoxCrops(blobs, path, margin=1.0).image(0).shape == (16, 16, 3)
    with pytest.raises(DataError) as error:
        BoxCrops(Blobs(2), path)
    assert error.value.problems[0].path == "boxes"
