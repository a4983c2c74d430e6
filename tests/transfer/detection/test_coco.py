"""COCO's and VOC's annotations: what is read, and what is rejected."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup import testing
from selfsup.data import CocoDetection, CrowdedScenes, VocDetection
from selfsup.data.sources.coco import mask_of
from selfsup.data.sources.coco_check import _runs
from selfsup.errors import DataError
from tests.transfer.detection.coco_files import SIZE, scenes, written

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    written(folder, scenes(), ids=[7, 3, 90, 1, 55, 2, 14, 8, 0])
    return folder


def content_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "annotations.json").read_text())


def test_what_was_written_is_read_whatever_the_ids(folder: Path) -> None:
    drawn, read = scenes(), CocoDetection(folder / "annotations.json")
    testing.check_source(read)
    assert sorted(read.classes) == sorted(drawn.classes)
    for index in range(len(read)):
        wanted, found = drawn.targets(int(read.name(index).partition(".")[0])), read.targets(index)
        for name in ("boxes", "masks", "area", "crowd"):
            np.testing.assert_array_equal(found[name], wanted[name])
        assert [read.classes[label] for label in found["labels"]] == [
            drawn.classes[label] for label in wanted["labels"]
        ]


def test_polygons_are_drawn_as_pycocotools_draws_them(folder: Path) -> None:
    content = content_of(folder)
    content["annotations"] = content["annotations"][:1]
    square = [10, 20, 30, 20, 30, 40, 10, 40]
    content["annotations"][0] |= {"bbox": [10, 20, 20, 20], "segmentation": [square, [0, 0, 5, 0, 5, 5, 0, 5]]}
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[20:40, 10:30] = expected[0:5, 0:5] = 1
    (mask,) = CocoDetection(content, folder, keep_empty=False).targets(0)["masks"]
    np.testing.assert_array_equal(mask, expected)


def test_images_without_objects_may_be_left_out(folder: Path) -> None:
    content = content_of(folder)
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 98]
    assert len(CocoDetection(content, folder)) == 4
    kept = CocoDetection(content, folder, keep_empty=False)
    assert 98 not in kept.ids and len(kept) == 3
    empty = CocoDetection(content, folder)
    found = empty.targets(empty.ids.index(98))
    assert found["boxes"].shape == (0, 4) and found["masks"].shape == (0, SIZE, SIZE)


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("bbox", [60, 10, 20, 20], "annotations.2.bbox"),
        ("bbox", [1, 2, -3, 4], "annotations.2.bbox"),
        ("bbox", [1, 2, "3", 4], "annotations.2.bbox"),
        ("bbox", [1, 2, 3], "annotations.2.bbox"),
        ("bbox", None, "annotations.2.bbox"),
        ("image_id", None, "annotations.2.image_id"),
        ("category_id", None, "annotations.2.category_id"),
        ("category_id", 4, "annotations.2.category_id"),
        ("image_id", 12, "annotations.2.image_id"),
        ("segmentation", [[0, 0, 1, 1]], "annotations.2.segmentation"),
        ("segmentation", [[0, 0, 1, 1, 2, "2"]], "annotations.2.segmentation"),
        ("segmentation", {"size": [32, 64], "counts": "abc"}, "annotations.2.segmentation"),
        ("segmentation", {"size": [64, 64], "counts": "abc"}, "annotations.2.segmentation"),
        ("segmentation", {"size": [64, 64], "counts": [4000, 95]}, "annotations.2.segmentation"),
        ("segmentation", {"size": [64, 64], "counts": [4097, -1]}, "annotations.2.segmentation"),
        ("segmentation", {"size": [64, 64], "counts": None}, "annotations.2.segmentation"),
    ],
)
def test_what_cannot_be_right_is_named_by_its_annotation(folder: Path, field: str, value: Any, path: str) -> None:
    content = copy.deepcopy(content_of(folder))
    content["annotations"][2][field] = value
    with pytest.raises(DataError) as error:
        CocoDetection(content, folder)
    (problem,) = error.value.problems
    assert problem.path == path
    assert problem.got == (value["size"] if isinstance(value, dict) else value)
    if field in ("bbox", "segmentation") and value is not None:
        image = content["annotations"][2]["image_id"]
        assert f"image {image} ({100 - image}.png)" in problem.expected


def test_run_lengths_fill_their_image_as_pycocotools_counts_them(folder: Path) -> None:
    content = content_of(folder)
    for annotation in content["annotations"]:
        shape = annotation["segmentation"]
        runs = _runs(shape["counts"])
        plain = mask_of({**shape, "counts": runs}, SIZE, SIZE)
        np.testing.assert_array_equal(plain, mask_of(shape, SIZE, SIZE))
        assert sum(runs) == SIZE * SIZE and sum(runs[1::2]) == plain.sum()
    content["annotations"][2]["segmentation"]["counts"] = content["annotations"][2]["segmentation"]["counts"][:-2]
    with pytest.raises(DataError) as error:
        CocoDetection(content, folder)
    assert [problem.path for problem in error.value.problems] == ["annotations.2.segmentation"]
    CocoDetection(content, folder, masks=False)


@pytest.mark.parametrize(
    ("kind", "field", "path"),
    [
        ("images", "id", "images[1].id"),
        ("images", "file_name", "images.99.file_name"),
        ("images", "height", "images.99.height"),
        ("images", "width", "images.99.width"),
        ("categories", "id", "categories[1].id"),
        ("categories", "name", "categories.3.name"),
        ("annotations", "id", "annotations[1].id"),
        ("annotations", "image_id", "annotations.1.image_id"),
        ("annotations", "category_id", "annotations.1.category_id"),
        ("annotations", "bbox", "annotations.1.bbox"),
    ],
)
def test_a_missing_field_is_named_by_the_id_of_what_lacks_it(folder: Path, kind: str, field: str, path: str) -> None:
    content = content_of(folder)
    del content[kind][1][field]
    with pytest.raises(DataError) as error:
        CocoDetection(content, folder)
    assert [problem.path for problem in error.value.problems] == [path]


def test_two_categories_or_images_with_one_id_and_a_size_that_is_text_are_rejected(folder: Path) -> None:
    def problem_of(kind: str, **changes: Any) -> tuple[str, Any]:
        content = content_of(folder)
        content[kind][1] |= changes
        with pytest.raises(DataError) as error:
            CocoDetection(content, folder)
        return error.value.problems[0].path, error.value.problems[0].got

    assert problem_of("categories", id=7) == ("categories.7", 2)
    assert problem_of("images", id=100) == ("images.100", 2)
    assert problem_of("images", height="64") == ("images.99", ["64", 64])


def test_a_list_of_results_is_no_file_of_annotations(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(DataError) as error:
        CocoDetection(tmp_path / "results.json")
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("annotations", list)


def test_a_missing_file_and_an_image_of_another_size_are_named_by_their_id(folder: Path) -> None:
    content = content_of(folder)
    content["images"][1]["file_name"] = "away.png"
    with pytest.raises(DataError) as error:
        CocoDetection(content, folder)
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("images.99", str(folder / "away.png"))
    content = content_of(folder) | {"annotations": []}
    content["images"][3]["width"] = 60
    with pytest.raises(DataError) as error:
        CocoDetection(content, folder).image(0)
    (problem,) = error.value.problems
    assert (problem.path, problem.got, problem.expected) == ("images.97", "64 x 64", "60 x 64")


def test_voc_counts_from_one_and_its_difficult_objects_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    def thing(name: str, box: tuple[int, int, int, int], difficult: int) -> str:
        sides = "".join(
            f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"

    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "JPEGImages" / "000005.jpg").write_bytes(b"")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("000005\n")
    objects = thing("dog", (1, 1, 500, 375), 0) + thing("cat", (11, 21, 30, 40), 1)
    size = "<size><width>500</width><height>375</height></size>"
    text = f"<annotation><filename>000005.jpg</filename>{size}{objects}</annotation>"
    (tmp_path / "Annotations" / "000005.xml").write_text(text)
    found = VocDetection(tmp_path, "test")
    target = found.targets(0)
    assert found.classes == ["cat", "dog"]
    assert target["boxes"].tolist() == [[0, 0, 500, 375], [10, 20, 30, 40]]
    assert (target["labels"].tolist(), target["crowd"].tolist()) == ([1, 0], [False, True])


def test_crowded_scenes_show_what_their_masks_say() -> None:
    source = CrowdedScenes("test", 96, num_images=6, background="none", count=(2, 4))
    testing.check_source(source)
    for index in range(len(source)):
        target = source.targets(index)
        assert len(target["boxes"]) >= 1
        opacity = source.image(index)[..., 3]
        assert not (target["masks"].sum(0) > 1).any()  # what is covered belongs to what covers it
        assert (opacity[target["masks"].any(0)] > 0).all()
        covered = (opacity > 200) & ~target["masks"].any(0).astype(bool)
        assert covered.mean() < 0.01
