"""What can be wrong with a file of annotations in COCO's form, found before anything is learned from it."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from selfsup.errors import DataError, Problem

OUTSIDE = 1.0
"""Pixels by which a box may reach beyond its image: COCO's own files are rounded so."""
_MOST_PROBLEMS = 20
FIELDS = {
    "categories": ("id", "name"),
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
"""What each thing must have, by kind."""


def check_coco(content: Mapping[str, Any], root: Path, *, masks: bool) -> None:
    """Reject annotations in COCO's form that cannot be learned from.

    Args:
        content: with images, annotations and categories.
        root: the folder of the images.
        masks: whether those are learned too.

    Raises:
        DataError: with the first of all that is wrong, by image and annotation id.
    """
    for find in (_incomplete, _sizeless):  # nothing can be compared before these are right
        if problems := list(itertools.islice(find(content), _MOST_PROBLEMS)):
            raise DataError(*problems)
    found = itertools.chain(
        _same_ids(content, "categories"),
        _same_ids(content, "images"),
        _without_file(content["images"], root),
        _wrong_annotations(content, masks=masks),
    )
    if problems := list(itertools.islice(found, _MOST_PROBLEMS)):
        raise DataError(*problems)


def _incomplete(content: Mapping[str, Any]) -> Iterator[Problem]:
    """Fields that are missing; what has no id is named by its place in the list."""
    for kind, names in FIELDS.items():
        for place, thing in enumerate(content[kind]):
            which = f"[{place}]" if thing.get("id") is None else f".{thing['id']}"
            yield from (Problem(f"{kind}{which}.{name}", "is missing") for name in names if thing.get(name) is None)


def _sizeless(content: Mapping[str, Any]) -> Iterator[Problem]:
    for image in content["images"]:
        size = [image["height"], image["width"]]
        if not _are_numbers(size) or min(size) < 1:
            yield Problem(f"images.{image['id']}", "must have a height and a width in pixels", size)


def _same_ids(content: Mapping[str, Any], kind: str) -> Iterator[Problem]:
    for number, count in Counter(thing["id"] for thing in content[kind]).items():
        if count > 1:
            yield Problem(f"{kind}.{number}", "is the id of several", count, "different ids")


def _without_file(images: list[Mapping[str, Any]], root: Path) -> Iterator[Problem]:
    there: dict[str, set[str]] = {}
    for image in images:
        file = str(image["file_name"])
        folder, _, name = file.rpartition("/")
        if folder not in there:
            inside = root / folder
            there[folder] = {entry.name for entry in os.scandir(inside)} if inside.is_dir() else set()
        if name not in there[folder]:
            yield Problem(f"images.{image['id']}", "there is no such file", str(root / file))


def _wrong_annotations(content: Mapping[str, Any], *, masks: bool) -> Iterator[Problem]:
    images = {image["id"]: image for image in content["images"]}
    categories = [category["id"] for category in content["categories"]]
    known = set(categories)
    for annotation in content["annotations"]:
        place = f"annotations.{annotation['id']}"
        image = images.get(annotation["image_id"])
        if image is None:
            yield Problem(f"{place}.image_id", "is the id of no image", annotation["image_id"])
            continue
        if annotation["category_id"] not in known:
            expected = f"one of {', '.join(map(str, sorted(categories)[:10]))}"
            yield Problem(f"{place}.category_id", "is the id of no category", annotation["category_id"], expected)
        height, width = image["height"], image["width"]
        which = f"image {image['id']} ({image['file_name']})"
        if problem := _wrong_box(annotation["bbox"], height, width):
            expected = f"within the {width} x {height} pixels of {which}"
            yield Problem(f"{place}.bbox", problem, annotation["bbox"], expected)
        shape = annotation.get("segmentation")
        if masks and (problem := _wrong_mask(shape, height, width)):
            got = shape.get("size") if isinstance(shape, dict) else shape
            expected = f"polygons, or run lengths of [{height}, {width}], for {which}"
            yield Problem(f"{place}.segmentation", problem, got, expected)


def _wrong_box(box: Any, height: int, width: int) -> str:
    if not _are_numbers(box) or len(box) != 4:
        return "must be x, y, width and height"
    x, y, w, h = box
    if w < 0 or h < 0:
        return "has a negative side"
    inside = x >= -OUTSIDE and y >= -OUTSIDE and x + w <= width + OUTSIDE and y + h <= height + OUTSIDE
    return "" if inside else "lies outside its image"


def _wrong_mask(shape: Any, height: int, width: int) -> str:
    if isinstance(shape, dict) and {"counts", "size"} <= set(shape):
        if shape["size"] not in ([height, width], (height, width)):
            return "is a mask of another size than the image"
        runs = _runs(shape["counts"]) if isinstance(shape["counts"], str) else shape["counts"]
        whole = _are_numbers(runs) and min(runs) >= 0 and sum(runs) == height * width
        return "" if whole else "has run lengths that do not fill the image"
    if isinstance(shape, list) and shape:
        even = all(_are_numbers(corners) and len(corners) >= 6 and len(corners) % 2 == 0 for corners in shape)
        return "" if even else "must be polygons of three corners or more, x and y each"
    return "has no mask" if not shape else "must be polygons or run lengths"


def _runs(text: str) -> list[int]:
    """The run lengths in COCO's compressed text; empty if it ends within a number.

    Source: ``rleFrString`` in maskApi.c of pycocotools, which reads on behind the end of such a text.
    """
    runs: list[int] = []
    number = shift = 0
    for letter in text:
        code = ord(letter) - 48  # five bits of the number, lowest first, and whether more follow
        number |= (code & 31) << shift
        shift += 5
        if not code & 32:
            signed = number - (1 << shift if code & 16 else 0)
            runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return [] if shift else runs


def _are_numbers(values: Any) -> bool:
    """Whether this is a list of finite numbers, one at least."""
    if not isinstance(values, list | tuple) or not values:
        return False
    return all(issubclass(kind, Real) for kind in set(map(type, values))) and math.isfinite(sum(values))
