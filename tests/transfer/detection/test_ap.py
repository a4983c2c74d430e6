"""Average precision is pycocotools'."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import CocoDetection, CrowdedScenes, ObjectCrops, Subset
from selfsup.evaluation.detection import (
    Curves,
    _evaluated,
    average_precision,
    classified,
    compared,
    ground_truth,
    results_of,
    true_objects,
)
from selfsup.transfer.detection import Detections
from tests.transfer.detection.coco_files import scenes, written

pytest.importorskip("pycocotools")


def guesses(source: Any, index: int, name: str) -> Detections:
    """What is there, moved, some of it missing or of another class, and something that is not there; by the name."""
    rng = np.random.default_rng(int(name.partition(".")[0]))
    target = source.targets(index)
    kept = rng.random(len(target["boxes"])) < 0.8
    boxes = target["boxes"][kept] + rng.normal(0, 2, (kept.sum(), 4)).astype(np.float32)
    boxes = np.concatenate([boxes, np.array([[1, 1, 20, 20]], np.float32)])
    masks = np.concatenate([np.roll(target["masks"][kept], 1, 2), np.zeros((1, 64, 64), np.uint8)])
    masks[-1, 1:20, 1:20] = 1
    labels = np.append(target["labels"][kept], target["labels"][:1])
    return Detections(boxes, labels, np.sort(rng.random(len(boxes)).astype(np.float32))[::-1], masks)


def found_in(source: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = [
        one for index in range(len(source)) for one in results_of(index, guesses(source, index, source.name(index)))
    ]
    return ground_truth(source, range(len(source))), found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ap")
    written(folder, scenes(num_images=12), ids=[7, 3, 90, 1, 55, 2, 14, 8, 0])
    return folder


def values(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


def test_scores_are_those_of_pycocotools_on_the_annotations_themselves(folder: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    source = CocoDetection(folder / "annotations.json")
    truth, found = found_in(source)
    scores, notes = average_precision(truth, found, replicates=0)
    assert 0.05 < scores["box_AP"].value < 0.95 and 0.05 < scores["mask_AP"].value < 0.95
    assert [note.partition(":")[0] for note in notes] == ["box_AP_large", "mask_AP_large"]
    with contextlib.redirect_stdout(io.StringIO()):
        own = COCO(str(folder / "annotations.json"))
        for annotation in own.dataset["annotations"]:
            annotation["id"] += 1  # an annotation with id 0 counts as not found in pycocotools
        own.createIndex()
        ids = {name: category["id"] for category in own.dataset["categories"] for name in [category["name"]]}
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            theirs = [
                {
                    **{
                        key: value
                        for key, value in one.items()
                        if key in ("score", {"bbox": "bbox", "segm": "segmentation"}[kind])
                    },
                    "image_id": source.ids[one["image_id"] - 1],
                    "category_id": ids[source.classes[one["category_id"] - 1]],
                }
                for one in found
            ]
            evaluation = COCOeval(own, own.loadRes(theirs), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            wanted = dict(
                zip(("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"), evaluation.stats, strict=False)
            )
            for key, value in wanted.items():
                assert scores[f"{name}_{key}"].value == value if value >= 0 else f"{name}_{key}" not in scores


def test_other_ids_of_categories_and_another_order_of_images_change_nothing(folder: Path, tmp_path: Path) -> None:
    written(tmp_path, scenes(num_images=12), ids=[1, 2, 3, 4, 5, 6, 7, 8, 9])
    expected, _ = average_precision(*found_in(CocoDetection(folder / "annotations.json")), replicates=0)
    other = CocoDetection(tmp_path / "annotations.json")
    for source in (other, Subset(other, np.random.default_rng(0).permutation(12))):
        found, _ = average_precision(*found_in(source), replicates=0)
        assert values(found) == pytest.approx(values(expected), abs=1e-12)


def test_with_every_image_once_the_curves_give_pycocotools_ap50_and_intervals_hold_it(folder: Path) -> None:
    truth, found = found_in(CocoDetection(folder / "annotations.json"))
    for kind in ("bbox", "segm"):
        evaluation, stats = _evaluated(truth, found, kind, "pycocotools")
        assert Curves.of(evaluation).average_precision(np.ones(12)) == pytest.approx(stats[1], abs=1e-9)
    score = average_precision(truth, found, replicates=50)[0]["box_AP50"]
    assert score.low is not None and score.high is not None and score.low < score.value < score.high and score.n == 12


def test_a_detector_is_no_better_than_itself_and_better_than_one_that_finds_nothing(folder: Path) -> None:
    truth, found = found_in(CocoDetection(folder / "annotations.json"))
    same, better = (compared(truth, found, other, kind="segm", replicates=50) for other in (found, []))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    score = average_precision(truth, found, replicates=50)[0]["mask_AP50"]
    expected = (pytest.approx(score.value), pytest.approx(score.low), pytest.approx(score.high))
    assert (better.value, better.low, better.high) == expected


def test_an_image_that_is_drawn_twice_counts_like_two(folder: Path) -> None:
    source = CocoDetection(folder / "annotations.json")
    evaluation, _ = _evaluated(*found_in(source), "bbox", "pycocotools")
    weights = np.array([0, 2, 1, 1, 3, 0, 1, 1, 1, 0, 1, 1])
    _, stats = _evaluated(*found_in(Subset(source, np.repeat(np.arange(12), weights))), "bbox", "pycocotools")
    assert Curves.of(evaluation).average_precision(weights.astype(float)) == pytest.approx(stats[1], abs=1e-9)


def test_the_faster_backend_has_the_same_numbers(folder: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    truth, found = found_in(CocoDetection(folder / "annotations.json"))
    expected, _ = average_precision(truth, found, replicates=0)
    fast, _ = average_precision(truth, found, backend="faster-coco-eval", replicates=0)
    assert values(fast) == pytest.approx(values(expected), abs=1e-9)


def test_classes_are_those_of_the_same_names_whatever_their_order(folder: Path) -> None:
    source = CocoDetection(folder / "annotations.json")
    truth, found = found_in(source)
    count, order = len(source.classes), [*reversed(source.classes), "unicorn"]
    other = ground_truth(source, range(len(source)), order)
    assert [each["name"] for each in other["categories"]] == order
    turned = [{**one, "category_id": count + 1 - one["category_id"]} for one in found]
    scores = [values(average_precision(*both, replicates=0)[0]) for both in ((truth, found), (other, turned))]
    assert scores[0] == pytest.approx(scores[1]) and scores[0]["box_AP50"] > 0


def test_nothing_found_is_zero_and_crowds_are_neither_right_nor_wrong(folder: Path) -> None:
    source = CocoDetection(folder / "annotations.json")
    truth, found = found_in(source)
    nothing, _ = average_precision(truth, [], replicates=5)
    assert {score.value for score in nothing.values()} == {0.0}
    perfect = CrowdedScenes(num_images=3)
    truth, found = ground_truth(perfect, range(3)), []
    for index in range(3):
        target = perfect.targets(index)
        count = len(target["boxes"])
        exact = Detections(target["boxes"], target["labels"], np.full(count, 0.9, np.float32), target["masks"])
        found += results_of(index, exact)
    truth["annotations"][0]["iscrowd"] = 1
    whole, _ = average_precision(truth, found, replicates=0)
    assert {score.value for score in whole.values()} == {1.0}


def test_a_classifier_of_crops_names_what_was_found_and_true_boxes_are_its_ceiling() -> None:
    images = CrowdedScenes("test", 64, num_images=12, level="category", scale=(0.3, 0.5))
    truth = ground_truth(images, range(len(images)))
    objects = true_objects(truth)
    labels = np.array([one["category_id"] - 1 for one in objects])
    sure = 30.0 * np.eye(len(images.classes))[labels]
    assert values(average_precision(truth, classified(objects, sure), replicates=0)[0])["box_AP"] == pytest.approx(1)
    wrong = average_precision(truth, classified(objects, np.roll(sure, 1, axis=1)), replicates=0)[0]
    assert wrong["box_AP"].value < 0.2
    unsure = classified([{**one, "score": 0.5} for one in objects], np.zeros_like(sure))
    assert {one["score"] for one in unsure} == {0.5 / len(images.classes)}
    crops = ObjectCrops(images, [(one["image_id"] - 1, one["bbox"]) for one in objects], labels.tolist(), margin=0.0)
    whole = images.image(objects[3]["image_id"] - 1)
    x, y, width, height = map(int, objects[3]["bbox"])
    np.testing.assert_array_equal(crops.image(3), whole[y : y + height, x : x + width])
    assert ObjectCrops(images, [(0, [63.9, -5.0, 20.0, 5.0])]).image(0).shape[0] >= 1
