"""One view of an image for a detector: boxes and masks move with it."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from selfsup.data.transforms.geometry import resize
from selfsup.data.views.multi_view import Component, MultiView, Pipeline
from selfsup.errors import require
from selfsup.ops.images import MID_GRAY
from selfsup.registry import TRANSFORMS

Target = dict[str, Any]
_PER_OBJECT = ("boxes", "labels", "crowd", "area", "masks")


class _DetectionViews:
    """What both pipelines share: ``_placed`` resizes and cuts, then the view may be mirrored."""

    num_views = 1

    def __init__(self, flip: float, before: Sequence[Component]) -> None:
        require(0 <= flip <= 1, "flip", "must be in [0, 1]", got=flip)
        self.flip = flip
        self._before = MultiView([Pipeline(1)], before=before) if before else None

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """The view of an image of which no objects are known."""
        return [self.with_targets(image, {"boxes": np.zeros((0, 4), np.float32)}, rng)[0]]

    def with_targets(self, image: np.ndarray, target: Target, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
        """The view, and what can be seen in it.

        Args:
            image: uint8 (H, W, 3), or with an alpha channel that ``before`` takes away.
            target: see :meth:`~selfsup.data.sources.coco.CocoDetection.targets`.
            rng: what is drawn comes from it.
        """
        if self._before is not None:
            (image,) = self._before(image, rng)
        image, target = self._placed(image, target, rng)
        if rng.random() < self.flip:
            image, target = mirrored(image, target)
        return np.ascontiguousarray(image), target

    def _placed(self, image: np.ndarray, target: Target, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
        raise NotImplementedError


@TRANSFORMS.register_module()
class ShortSideViews(_DetectionViews):
    """The whole image, its shorter side at one of several lengths, and half of the time its mirror image.

    Args:
        sides: lengths of the shorter side in pixels, one of which is drawn.
        longest: pixels that the longer side has at most.
        flip: how often the view is mirrored.
        before: transforms of the image that move nothing in it, such as ``FreshBackground``.

    Raises:
        ConfigError: if an argument is out of range.

    Source: facebookresearch/detectron2, INPUT.MIN_SIZE_TRAIN and ResizeShortestEdge.
    """

    def __init__(
        self,
        sides: Sequence[int] = (640, 672, 704, 736, 768, 800),
        *,
        longest: int = 1333,
        flip: float = 0.5,
        before: Sequence[Component] = (),
    ) -> None:
        require(sides and min(sides) >= 1, "sides", "must be lengths > 0", got=sides)
        super().__init__(flip, before)
        self.sides = tuple(sides)
        self.longest = longest

    def _placed(self, image: np.ndarray, target: Target, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
        height, width = image.shape[:2]
        side = self.sides[int(rng.integers(len(self.sides)))]
        zoom = min(side / min(height, width), self.longest / max(height, width))
        return resized(image, target, max(1, round(height * zoom)), max(1, round(width * zoom)))


@TRANSFORMS.register_module()
class ScaleJitterViews(_DetectionViews):
    """A square of one size: the image at a random scale, cut where it is larger and with gray where it is smaller.

    Args:
        size: side of the square in pixels.
        scale: the longer side of the image is brought to ``size`` times a number drawn from this range.
        flip: how often the view is mirrored.
        before: transforms of the image that move nothing in it, such as ``FreshBackground``.

    Raises:
        ConfigError: if an argument is out of range.

    Source: Ghiasi et al. 2021, arXiv:2012.07177, section 3 (their "large scale jittering" is 0.1 to 2).
    """

    def __init__(
        self,
        size: int = 1024,
        scale: tuple[float, float] = (0.8, 1.25),
        *,
        flip: float = 0.5,
        before: Sequence[Component] = (),
    ) -> None:
        require(size >= 1, "size", "must be > 0", got=size)
        require(0 < scale[0] <= scale[1], "scale", "must be a range of numbers > 0", got=scale)
        super().__init__(flip, before)
        self.size = size
        self.scale = scale

    def _placed(self, image: np.ndarray, target: Target, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
        zoom = rng.uniform(*self.scale) * self.size / max(image.shape[:2])
        height, width = (max(1, round(side * zoom)) for side in image.shape[:2])
        image, target = resized(image, target, height, width)
        top, left = (round(rng.random() * (side - self.size)) for side in (height, width))  # negative where it is small
        return cut(image, target, top, left, self.size)


def resized(image: np.ndarray, target: Target, height: int, width: int) -> tuple[np.ndarray, Target]:
    """The image at another size, and its objects: boxes are scaled exactly, masks take their nearest pixels."""
    factors = np.array([width / image.shape[1], height / image.shape[0]] * 2)
    changed = dict(target)
    changed["boxes"] = (target["boxes"] * factors).astype(np.float32)
    if "area" in target:
        changed["area"] = target["area"] * factors[0] * factors[1]
    if "masks" in target:
        masks = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for mask in target["masks"]]
        changed["masks"] = np.array(masks, np.uint8).reshape(-1, height, width)
    return resize(image, height, width), changed


def mirrored(image: np.ndarray, target: Target) -> tuple[np.ndarray, Target]:
    """The mirror image, left and right exchanged."""
    boxes = target["boxes"]
    changed = {
        **target,
        "boxes": np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], 1),
    }
    if "masks" in target:
        changed["masks"] = np.ascontiguousarray(target["masks"][:, :, ::-1])
    return np.ascontiguousarray(image[:, ::-1]), changed


def cut(image: np.ndarray, target: Target, top: int, left: int, size: int) -> tuple[np.ndarray, Target]:
    """A square out of the image, gray where there is no image; objects of which nothing is left in it are gone.

    The box of an object that is cut becomes the tight box of what is left of its mask, where there are masks.

    Args:
        image: uint8 (H, W, 3).
        target: its objects.
        top, left: of the square; negative where it begins outside.
        size: its side.
    """
    height, width = image.shape[:2]
    rows, columns = (slice(max(start, 0), min(start + size, end)) for start, end in ((top, height), (left, width)))
    to_rows, to_columns = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    square = np.full((size, size, 3), MID_GRAY, np.uint8)
    square[to_rows, to_columns] = image[rows, columns]
    moved = target["boxes"] - np.array([left, top] * 2, np.float32)
    low, high = (to_columns.start, to_rows.start), (to_columns.stop, to_rows.stop)
    boxes = moved.clip(np.array(low * 2), np.array(high * 2)).astype(np.float32)
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    changed = {**target, "boxes": boxes}
    if "masks" in target:
        masks = np.zeros((len(boxes), size, size), np.uint8)
        masks[:, to_rows, to_columns] = target["masks"][:, rows, columns]
        changed["masks"] = masks
        kept &= masks.any((1, 2))
        for number in np.flatnonzero(kept & (boxes != moved).any(1)):
            ys, xs = np.flatnonzero(masks[number].any(1)), np.flatnonzero(masks[number].any(0))
            boxes[number] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return square, {name: value[kept] if name in _PER_OBJECT else value for name, value in changed.items()}
