"""A folder in COCO's form, written from drawn scenes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfsup.data import CrowdedScenes

SIZE = 64


def scenes(**changes: Any) -> CrowdedScenes:
    return CrowdedScenes(**{"size": SIZE, "num_images": 4, "level": "category", "scale": (0.3, 0.7), **changes})


def written(folder: Path, source: CrowdedScenes, *, ids: list[int] | None = None) -> dict[str, Any]:
    """The images as files, and their annotations, the first of each image with polygons where it has one outline.

    Args:
        folder: where to.
        source: what is written.
        ids: of its classes, any numbers in any order; None counts from 1.
    """
    mask = __import__("pycocotools.mask").mask
    ids = ids or list(range(1, len(source.classes) + 1))
    images, annotations = [], []
    for index in range(len(source)):
        name = f"{index}.png"
        cv2.imwrite(str(folder / name), source.image(index)[..., ::-1])
        images.append({"id": 100 - index, "file_name": name, "height": SIZE, "width": SIZE})
        target = source.targets(index)
        for number, (left, top, right, bottom) in enumerate(target["boxes"].tolist()):
            shape = mask.encode(np.asfortranarray(target["masks"][number]))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 100 - index,
                    "category_id": ids[target["labels"][number]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": float(target["area"][number]),
                    "iscrowd": 0,
                    "segmentation": {"size": shape["size"], "counts": shape["counts"].decode()},
                }
            )
    categories = [{"id": number, "name": name} for number, name in zip(ids, source.classes, strict=True)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return content
