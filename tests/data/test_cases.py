"""Small inputs that are easily read wrongly, and what a run says of its images before the first step."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import ImageList, LabelSets, describe_images
from tests.data.encoded import encode
from tests.data.listed import Listed

CASES = Path(__file__).parent / "cases"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
IMAGES = [name for name, case in EXPECTED.items() if "mean_0_255" in case]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_listed_and_has_its_values(name: str) -> None:
    images = ImageList(CASES, bit_depth=12 if name.startswith("twelve") else None)
    names = [images.name(index) for index in range(len(images))]
    image, case = images.image(names.index(name)), EXPECTED[name]
    assert image.mean() == pytest.approx(case["mean_0_255"], abs=case["tolerance"])
    assert image.max() == case.get("max_0_255", image.max())


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(IMAGES)))
def test_a_list_is_read(name: str) -> None:
    case, images = EXPECTED[name], ImageList(CASES / name, "column" if "classes" in EXPECTED[name] else None)
    assert len(images) == case.get("images", 8)
    assert all(images.image(index).shape == (32, 32, 3) for index in range(8))
    if "classes" in case:
        assert images.classes == case["classes"]
        assert int(np.sum(np.asarray(images.labels) < 0)) == case["unlabelled"]


def said(source: Any, *words: str) -> bool:
    return any(all(word in line for word in words) for line in describe_images(source))


def test_values_that_end_far_below_their_range_are_said_with_the_option(tmp_path: Path) -> None:
    deep = ImageList(CASES, extensions=(".png",))
    assert said(deep, "bit_depth=12", "4,096") and not said(ImageList(CASES, bit_depth=12), "bit_depth")
    (tmp_path / "full.png").write_bytes(encode(np.full((4, 4), 60_000, np.uint16), "PNG"))
    assert describe_images(ImageList(tmp_path)) == []


def test_classes_are_named_with_their_images() -> None:
    source = Listed("abcdefghij", [0, 0, 0, 1, 1, 2, 4, 4, -1, -1])
    source.classes = ["ant", "bee", "cat", "dog", "eel"]  # type: ignore[assignment]
    (line,) = describe_images(source)
    assert line == (
        "5 classes (ant, bee, cat, ...), 0 to 3 images each; 1 of one image (cat); 1 without images (dog); "
        "2 images without a label"
    )
    source.labels = LabelSets(np.array([0, 1, 1, 2]), np.array([0, 2, 3, 4]), 3)  # type: ignore[assignment]
    source.classes = ["x", "y", "z"]  # type: ignore[assignment]
    assert said(source, "3 classes (x, y, z), 1 to 2 images each; 2 of one image (x, z)")
    assert describe_images(Listed("ab")) == []


@pytest.mark.parametrize(
    "classes, pointed_out",
    [(["train", "Val"], True), (["2019", "2020"], True), (["2019", "cat"], False), (["test"], False)],
)
def test_classes_that_are_parts_or_years_are_pointed_out(classes: list[str], pointed_out: bool) -> None:
    source = Listed("abcd", [0, 0, len(classes) - 1, len(classes) - 1])
    source.classes = classes  # type: ignore[assignment]
    assert said(source, classes[0], "--labels none") == pointed_out


def test_what_is_left_out_of_a_folder_is_said_in_one_line(tmp_path: Path) -> None:
    names = ["a.png", "b.jxl", "c.jxl", "d.mp4", "e.heic", *(f"f.x{number}" for number in range(6))]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text('{"found_in_work_dir": []}')
    images = ImageList(tmp_path, extensions=(".png",))
    assert said(images, str(tmp_path), "2 .jxl, 1 .heic, 1 .mp4, 1 .x0, 1 .x1, 4 others", "selfsup[heif]")
    assert said(images, str(tmp_path / "run"))
    assert len(describe_images(images)) == 2
