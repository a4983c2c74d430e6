"""Several emoji a picture, with exact boxes and masks: detection without a download."""

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np

from selfsup.data.sources.coco import OBJECT
from selfsup.data.sources.pictures import DOMAINS, emoji_table, emoji_tile
from selfsup.data.sources.scenes import LEVELS, SPLITS, box_of, piece_of_photograph, placed, split_emoji
from selfsup.data.transforms.base import check_choice
from selfsup.errors import require
from selfsup.registry import DATASETS

_ATTEMPTS = 30
_FEWEST_PIXELS = 16


@DATASETS.register_module()
class CrowdedScenes:
    """Several emoji a picture, at random scales, places and rotations, which may cover each other a little.

    A picture depends on (seed, index, split) and the arguments alone. Masks hold what can be seen of an emoji, boxes
    are the tight boxes of the masks.

    Args:
        split: whose emoji are shown, see :class:`~selfsup.data.sources.scenes.Scenes`.
        size: side of a picture in pixels.
        num_images: how many pictures there are.
        count: the fewest and the most emoji of a picture; where no place is found for one, it is left out.
        scale: range of the side of an emoji's square, as a share of ``size``.
        overlap: the share of an emoji's square that others may lie on, in [0, 1).
        rotation: largest angle to either side, in degrees.
        background: ``'photo'``, ``'flat'`` (one random color), or ``'none'``: transparent, the image then is RGBA.
        domains: which drawings.
        level: what the labels tell apart; ``'object'`` is one class for all.
        seed: gives the pictures.

    Attributes:
        classes: class names at ``level``.

    Raises:
        ConfigError: if an argument is not among its choices or out of range.
    """

    def __init__(
        self,
        split: Literal["train", "val", "test", "held_out", "all"] = "train",
        size: int = 128,
        *,
        num_images: int = 1000,
        count: tuple[int, int] = (2, 5),
        scale: tuple[float, float] = (0.2, 0.4),
        overlap: float = 0.15,
        rotation: float = 30.0,
        background: Literal["photo", "flat", "none"] = "photo",
        domains: Sequence[str] = DOMAINS,
        level: Literal["object", "category", "subcategory", "emoji"] = "object",
        seed: int = 0,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("background", background, ("photo", "flat", "none"))
        check_choice("level", level, (OBJECT, *LEVELS))
        for domain in domains:
            check_choice("domains", domain, DOMAINS)
        require(size >= 32, "size", "must be at least 32 pixels", got=size)
        require(num_images >= 1, "num_images", "must be >= 1", got=num_images)
        require(1 <= count[0] <= count[1], "count", "must be a range of numbers >= 1", got=count)
        require(0 < scale[0] <= scale[1] <= 0.7, "scale", "must be a range within (0, 0.7]", got=scale)
        require(0 <= overlap < 1, "overlap", "must be in [0, 1)", got=overlap)
        table = emoji_table()
        self.size, self.num_images, self.count, self.scale = size, num_images, count, scale
        self.overlap, self.rotation, self.background, self.seed = overlap, rotation, background, seed
        self.split, self.domains, self.level = split, tuple(domains), level
        self.classes = [OBJECT] if level == OBJECT else table.names[level]
        self._emoji = split_emoji(table, split)
        self._of_emoji = np.zeros(len(table.names["emoji"]), np.int64) if level == OBJECT else table.members[level]

    @property
    def digest(self) -> str:
        """What tells these pictures from others."""
        known = {name: value for name, value in sorted(vars(self).items()) if name != "classes" and name[0] != "_"}
        return f"crowded scenes {known}"

    def __len__(self) -> int:
        return self.num_images

    def name(self, index: int) -> str:
        """Split, seed and number."""
        return f"{self.split}/{self.seed}/{index:06d}"

    def image(self, index: int) -> np.ndarray:
        """Draw a picture, uint8 (size, size, 3) RGB; with ``background='none'`` (size, size, 4), straight alpha."""
        layers, _, rng = self._layers(index)
        whole: np.ndarray = np.zeros((self.size, self.size, 4), np.uint8)
        for layer in layers:
            behind = cv2.bitwise_not(cv2.merge([layer[..., 3]] * 4))
            whole = cv2.add(cv2.multiply(whole, behind, scale=1 / 255), layer)
        color, opacity = whole[..., :3], cv2.merge([whole[..., 3]] * 3)
        if self.background == "none":
            return np.dstack([cv2.divide(color, opacity, scale=255), whole[..., 3]])
        if self.background == "flat":
            ground: Any = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), color.shape)
        else:
            ground = piece_of_photograph(self.size, self.size, rng)
        return cv2.add(cv2.multiply(ground, cv2.bitwise_not(opacity), scale=1 / 255), color)

    def targets(self, index: int) -> dict[str, Any]:
        """What the picture shows, see :meth:`~selfsup.data.sources.coco.CocoDetection.targets`; no crowds."""
        layers, emoji, _ = self._layers(index)
        covered = np.zeros((self.size, self.size), bool)
        masks, labels = [], []
        for layer, number in zip(reversed(layers), reversed(emoji), strict=True):  # from the front to the back
            own = 2 * layer[..., 3].astype(np.int32) >= int(layer[..., 3].max())
            seen = own & ~covered
            covered |= own
            if seen.sum() >= _FEWEST_PIXELS:
                masks.append(seen)
                labels.append(self._of_emoji[number])
        stacked = np.array(masks, np.uint8).reshape(-1, self.size, self.size)
        return {
            "boxes": np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4),
            "labels": np.array(labels, np.int64),
            "crowd": np.zeros(len(masks), bool),
            "area": stacked.sum((1, 2)).astype(np.float64),
            "masks": stacked,
        }

    def _layers(self, index: int) -> tuple[list[np.ndarray], list[int], np.random.Generator]:
        """The emoji from the back to the front, their numbers, and the generator that then draws the background."""
        if not 0 <= index < self.num_images:
            raise IndexError(f"there are {self.num_images} pictures, got number {index}")
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, SPLITS.index(self.split))))
        layers: list[np.ndarray] = []
        numbers: list[int] = []
        squares: list[tuple[float, float, float, float]] = []
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            number = int(rng.choice(self._emoji))
            domain = self.domains[int(rng.integers(len(self.domains)))]
            angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
            cos, sin = float(np.cos(angle)), float(np.sin(angle))
            side = rng.uniform(*self.scale) * self.size
            half = side * (abs(cos) + abs(sin)) / 2
            for _ in range(_ATTEMPTS):
                x, y = rng.uniform(half, self.size - half, 2).tolist()
                square = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
                if all(_shared(square, other) <= self.overlap for other in squares):
                    squares.append(square)
                    numbers.append(number)
                    layers.append(placed(emoji_tile(domain, number), side, (cos, sin), (x, y), self.size, self.size))
                    break
        return layers, numbers, rng


def _shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Which share of the smaller of two squares lies on the other."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0) / min(a[2] - a[0], b[2] - b[0]) ** 2
