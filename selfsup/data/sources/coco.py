"""Images with boxes and masks, from annotations in the form of COCO; Pascal VOC by conversion to it."""

import hashlib
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from selfsup.data.decode.decoder import decode_image
from selfsup.errors import ConfigError, DataError, Problem, require
from selfsup.registry import DATASETS

OUTSIDE = 1.0
"""Pixels by which a box may reach beyond its image: COCO's own files are rounded so."""

_MOST_PROBLEMS = 20
_FIELDS = {
    "categories": ("id", "name"),
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
OBJECT = "object"  # the class of everything, where classes do not count


@DATASETS.register_module()
class CocoDetection:
    """Images with boxes, classes and masks, as COCO's instance annotations list them.

    The whole file is checked when it is opened: an annotation that cannot be right is an error that names its id and
    that of its image. Categories may have any ids, in any order.

    Args:
        annotations: the JSON file, or its content.
        root: the folder that ``file_name`` counts from; None for the folder of the annotations.
        masks: whether ``targets`` have masks; reading them needs the extra ``selfsup[detection]``.
        class_agnostic: whether all objects are of one class, ``'object'``.
        keep_empty: whether images without an object count; training usually leaves them out, evaluation never.

    Attributes:
        classes: names of the categories in the order of their ids.

    Raises:
        DataError: with the first of all annotations and images that are wrong: a field that is missing, a box outside
            its image, an unknown image or category id, an id that two categories have, a mask that cannot be drawn, a
            missing file.
    """

    def __init__(
        self,
        annotations: str | Path | Mapping[str, Any],
        root: str | Path | None = None,
        *,
        masks: bool = True,
        class_agnostic: bool = False,
        keep_empty: bool = True,
    ) -> None:
        content, root = _opened(annotations, root)
        _check(content, root, masks=masks)
        self.root = root
        self.masks = masks
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.classes = [OBJECT] if class_agnostic else [str(category["name"]) for category in categories]
        require(len(set(self.classes)) == len(self.classes), "categories", "must have different names")
        number = {category["id"]: 0 if class_agnostic else place for place, category in enumerate(categories)}
        images = sorted(content["images"], key=lambda image: image["id"])
        by_image: dict[Any, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
        for annotation in sorted(content["annotations"], key=lambda annotation: annotation["id"]):
            by_image[annotation["image_id"]].append(annotation)
        kept = [image for image in images if keep_empty or by_image[image["id"]]]
        require(kept, "annotations", "hold no image" if keep_empty else "hold no image with an object")
        self.ids = [image["id"] for image in kept]
        self._files = [image["file_name"] for image in kept]
        self._sizes = np.array([(image["height"], image["width"]) for image in kept], np.int64)
        listed = [annotation for image in kept for annotation in by_image[image["id"]]]
        self._offsets = np.cumsum([0, *(len(by_image[image["id"]]) for image in kept)])
        boxes = np.array([annotation["bbox"] for annotation in listed], np.float64).reshape(-1, 4)
        sizes = np.repeat(self._sizes[:, ::-1], np.diff(self._offsets), axis=0)
        self._boxes = np.concatenate([boxes[:, :2].clip(0), np.minimum(boxes[:, :2] + boxes[:, 2:], sizes)], axis=1)
        self._labels = np.array([number[annotation["category_id"]] for annotation in listed], np.int64)
        self._crowd = np.array([bool(annotation.get("iscrowd", 0)) for annotation in listed], bool)
        self._area = np.array([_area(annotation) for annotation in listed], np.float64)
        # One text for all of them: millions of lists of corners would take many times the memory, in every worker.
        texts = [json.dumps(annotation["segmentation"]).encode() if masks else b"" for annotation in listed]
        self._shapes = b"".join(texts)
        self._shape_offsets = np.cumsum([0, *map(len, texts)])
        known = (self.ids, self._files, self.classes, self._boxes.tolist(), self._labels.tolist())
        about = json.dumps([*known, self._crowd.tolist(), self._area.tolist()]).encode() + self._shapes
        self.digest = hashlib.blake2b(about, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's ``file_name``."""
        return self._files[index]

    def file(self, index: int) -> str:
        """The path of the image."""
        return os.path.join(self.root, self._files[index])

    def image(self, index: int) -> np.ndarray:
        """Decode an image, uint8 (H, W, 3).

        Raises:
            DecodeError: if it cannot be decoded.
            DataError: if it is not of the size that its annotations count in.
        """
        image = decode_image(self.file(index))
        height, width = self._sizes[index].tolist()
        if image.shape[:2] != (height, width):
            place = f"images.{self.ids[index]}"
            got = f"{image.shape[1]} x {image.shape[0]}"
            raise DataError.at(
                place, f"{self._files[index]} is not of its size", got=got, expected=f"{width} x {height}"
            )
        return image

    def targets(self, index: int) -> dict[str, Any]:
        """What an image shows.

        Returns:
            Of N objects ``boxes``, float32 (N, 4): x_min, y_min, x_max, y_max in pixels; ``labels``, int64 (N,);
            ``crowd``, bool (N,): groups of objects that are neither trained on nor counted; ``area``, float64 (N,), by
            which objects are small or large; ``masks``, uint8 (N, H, W).
        """
        chosen = slice(self._offsets[index], self._offsets[index + 1])
        found = {
            "boxes": self._boxes[chosen].astype(np.float32),
            "labels": self._labels[chosen],
            "crowd": self._crowd[chosen],
            "area": self._area[chosen],
        }
        if self.masks:
            height, width = self._sizes[index].tolist()
            ends = self._shape_offsets[chosen.start : chosen.stop + 1].tolist()
            shapes = [json.loads(self._shapes[a:b]) for a, b in itertools.pairwise(ends)]
            masks = [mask_of(shape, height, width) for shape in shapes]
            found["masks"] = np.stack(masks) if masks else np.zeros((0, height, width), np.uint8)
        return found


@DATASETS.register_module()
class VocDetection(CocoDetection):
    """The boxes of Pascal VOC, converted to COCO's form.

    Objects that are marked as difficult become COCO's crowds: they are not trained on, and a detection of one is
    neither right nor wrong. VOC has no mask of every object, so there are none.

    Args:
        root: the folder of a year, with ``Annotations``, ``ImageSets`` and ``JPEGImages``.
        split: a list in ``ImageSets/Main``, such as ``'trainval'`` or ``'test'``.
        class_agnostic, keep_empty: as in :class:`CocoDetection`.

    Raises:
        DataError: if a file is missing or wrong.
    """

    def __init__(
        self, root: str | Path, split: str = "trainval", *, class_agnostic: bool = False, keep_empty: bool = True
    ) -> None:
        root = Path(root).expanduser()
        super().__init__(
            voc_to_coco(root, split),
            root / "JPEGImages",
            masks=False,
            class_agnostic=class_agnostic,
            keep_empty=keep_empty,
        )


def voc_to_coco(root: str | Path, split: str) -> dict[str, Any]:
    """The annotations of a list of Pascal VOC in COCO's form.

    VOC counts pixels from 1, the last one included: an object over the whole width of 500 pixels is listed as 1 to 500.

    Args:
        root: the folder of a year.
        split: a list in ``ImageSets/Main``.

    Raises:
        DataError: if a file is missing or wrong.
    """
    root = Path(root)
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    if not listed.is_file():
        raise DataError.at("split", "there is no such file", got=str(listed))
    images: list[dict[str, Any]] = []
    found: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(listed.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        path = root / "Annotations" / f"{line.split()[0]}.xml"
        try:
            tree = ElementTree.parse(path)
            size = {name: int(str(tree.findtext(f"size/{name}"))) for name in ("height", "width")}
            images.append({"id": number, "file_name": str(tree.findtext("filename")), **size})
            for thing in tree.iter("object"):
                sides = ("xmin", "ymin", "xmax", "ymax")
                left, top, right, bottom = (float(str(thing.findtext(f"bndbox/{side}"))) for side in sides)
                box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
                known = {"image_id": number, "bbox": box, "area": box[2] * box[3]}
                difficult = int(thing.findtext("difficult") or 0)
                found.append((str(thing.findtext("name")), {**known, "iscrowd": difficult}))
        except (OSError, ElementTree.ParseError, ValueError) as error:
            raise DataError.at(f"images.{line.split()[0]}", f"{path} cannot be read ({error})") from error
    names = sorted({name for name, _ in found})
    return {
        "images": images,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {"id": number, "category_id": names.index(name) + 1, **known}
            for number, (name, known) in enumerate(found, start=1)
        ],
    }


def mask_of(shape: Any, height: int, width: int) -> np.ndarray:
    """A mask, uint8 (height, width), of COCO's polygons or run lengths.

    Args:
        shape: a list of polygons (x, y, x, y, ...), or a dict with ``counts`` and ``size``.
        height, width: of the image.
    """
    mask = coco_masks()
    if isinstance(shape, list):
        shape = mask.merge(mask.frPyObjects(shape, height, width))
    elif isinstance(shape["counts"], list):
        shape = mask.frPyObjects(shape, height, width)
    return mask.decode(shape)


def coco_masks() -> Any:
    """The module ``pycocotools.mask``.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        expected = f"pip install 'selfsup[detection]' ({error})"
        raise ConfigError.at("", "needs the package pycocotools", expected=expected) from None
    return mask


def _opened(annotations: Any, root: str | Path | None) -> tuple[Mapping[str, Any], Path]:
    """The content, and the folder of the images."""
    if isinstance(annotations, Mapping):
        require(root is not None, "root", "must be given with annotations that are no file")
        content: Any = annotations
    else:
        path = Path(annotations).expanduser()
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError.at("annotations", f"cannot be read ({error})", got=str(path)) from error
        root = path.parent if root is None else root
    if not isinstance(content, Mapping):
        raise DataError.at("annotations", f"must have {', '.join(_FIELDS)}", got=type(content))
    missing = [name for name in _FIELDS if name not in content]
    if missing:
        raise DataError.at("annotations", f"have no {missing[0]!r}", got=sorted(content))
    return content, Path(str(root)).expanduser()


def _area(annotation: Mapping[str, Any]) -> float:
    width, height = annotation["bbox"][2:]
    return float(annotation.get("area", width * height))


def _check(content: Mapping[str, Any], root: Path, *, masks: bool) -> None:
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
    for kind, names in _FIELDS.items():
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
