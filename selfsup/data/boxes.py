"""Images cut to a box around what is shown."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.errors import DataError
from selfsup.registry import DATASETS


@DATASETS.register_module()
class BoxCrops:
    """The images of a source, each cut to its box; those without a box are left out.

    Args:
        dataset: the source, built or as a dict.
        boxes: a CSV with the columns ``name``, ``left``, ``top``, ``right`` and ``bottom`` in pixels, right and bottom
            outside; ``name`` is that of the image, or how it ends, from a slash on. Of several boxes of an image their
            hull counts.
        margin: by which a box is made larger to each side, as a share of its longer side.

    Raises:
        DataError: if the file lacks a column, or no image has a box.
    """

    def __init__(self, dataset: Any, boxes: str | Path, *, margin: float = 0.0) -> None:
        self.dataset: Any = DATASETS.build(dataset)
        self.margin = margin
        known = _read(Path(boxes).expanduser())
        found = [(index, _of(known, self.dataset.name(index))) for index in range(len(self.dataset))]
        self._boxes = [box for _, box in found if box is not None]
        self.indices = np.array([index for index, box in found if box is not None], np.int64)
        if not len(self.indices):
            raise DataError.at("boxes", "no image has a box", got=self.dataset.name(0), expected=next(iter(known), ""))
        self.classes = getattr(self.dataset, "classes", None)
        for name in ("labels", "groups"):
            values = getattr(self.dataset, name, None)
            setattr(self, name, None if values is None else np.asarray(values)[self.indices])

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """The name of the whole image."""
        return self.dataset.name(int(self.indices[index]))

    def image(self, index: int) -> np.ndarray:
        """What is in the box, uint8 (H, W, 3)."""
        image = self.dataset.image(int(self.indices[index]))
        left, top, right, bottom = self._boxes[index]
        more = self.margin * max(right - left, bottom - top)
        start = (max(0, round(top - more)), max(0, round(left - more)))
        end = (min(image.shape[0], round(bottom + more)), min(image.shape[1], round(right + more)))
        if end[0] <= start[0] or end[1] <= start[1]:
            raise DataError.at("boxes", f"the box of {self.name(index)} is empty or outside the image")
        return image[start[0] : end[0], start[1] : end[1]]


class ObjectCrops:
    """What is in some boxes of a source's images, each an image of its own.

    Args:
        dataset: the source.
        boxes: the number of an image, and left, top, width and height in its pixels, as COCO has them.
        labels: of the boxes; None for none.
        margin: by which a box is made larger to each side, as a share of its longer side.
    """

    groups = None

    def __init__(
        self,
        dataset: Any,
        boxes: Sequence[tuple[int, Sequence[float]]],
        labels: Sequence[int] | None = None,
        *,
        margin: float = 0.1,
    ) -> None:
        self.dataset, self.boxes, self.margin = dataset, boxes, margin
        self.classes = None if labels is None else dataset.classes
        self.labels = None if labels is None else np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.boxes)

    def name(self, index: int) -> str:
        """The name of the whole image, and the number of the box."""
        return f"{self.dataset.name(self.boxes[index][0])}#{index}"

    def image(self, index: int) -> np.ndarray:
        """What is in the box, uint8 (H, W, 3), one pixel at the least."""
        number, (left, top, width, height) = self.boxes[index]
        image, more = self.dataset.image(number), self.margin * max(width, height)
        y, x = (
            min(max(0, round(start - more)), side - 1) for start, side in zip((top, left), image.shape, strict=False)
        )
        bottom, right = max(y + 1, round(top + height + more)), max(x + 1, round(left + width + more))
        return np.ascontiguousarray(image[y:bottom, x:right])


def _read(path: Path) -> dict[str, tuple[float, float, float, float]]:
    if not path.is_file():
        raise DataError.at("boxes", "there is no such file", got=str(path))
    found: dict[str, tuple[float, float, float, float]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                left, top, right, bottom = (float(row[name]) for name in ("left", "top", "right", "bottom"))
                name = row["name"]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError.at("boxes", f"{path.name} line {number} has no {error}") from error
            before = found.get(name, (left, top, right, bottom))
            found[name] = (min(left, before[0]), min(top, before[1]), max(right, before[2]), max(bottom, before[3]))
    return found


def _of(known: dict[str, tuple[float, float, float, float]], name: str) -> tuple[float, float, float, float] | None:
    parts = name.split("/")
    return next((known[end] for n in range(len(parts)) if (end := "/".join(parts[n:])) in known), None)
