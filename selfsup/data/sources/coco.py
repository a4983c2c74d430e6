"""Images with boxes and masks, from annotations in the form of COCO; Pascal VOC by conversion to it."""

import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from selfsup.data.decode.decoder import decode_image
from selfsup.data.sources.coco_check import FIELDS, check_coco
from selfsup.errors import ConfigError, DataError, require
from selfsup.registry import DATASETS

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
        check_coco(content, root, masks=masks)
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
        raise DataError.at("annotations", f"must have {', '.join(FIELDS)}", got=type(content))
    missing = [name for name in FIELDS if name not in content]
    if missing:
        raise DataError.at("annotations", f"have no {missing[0]!r}", got=sorted(content))
    return content, Path(str(root)).expanduser()


def _area(annotation: Mapping[str, Any]) -> float:
    width, height = annotation["bbox"][2:]
    return float(annotation.get("area", width * height))
