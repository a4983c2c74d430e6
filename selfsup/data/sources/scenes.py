"""Labelled images without a download: emoji on flat or photographic backgrounds, with exact boxes and masks."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from selfsup.data.hierarchy import Hierarchy
from selfsup.data.sources.pictures import (
    DOMAINS,
    TILE,
    EmojiTable,
    emoji_table,
    emoji_tile,
    photograph,
    photograph_names,
)
from selfsup.data.transforms.base import check_choice
from selfsup.errors import ConfigError, require
from selfsup.registry import DATASETS

LEVELS = ("category", "subcategory", "emoji")
SPLITS = ("train", "val", "test", "held_out", "all")

_TRAIN_SHARE = 0.7
_SPLIT_SEED = 0  # the split is one and the same for every Scenes.seed, or a test set could meet training emoji
_PHOTO_SHARE = (0.25, 1.0)  # side of the piece of a photograph that a scene shows


@DATASETS.register_module()
class Scenes:
    """One emoji a scene, at random scale, place and rotation, always wholly inside.

    1,906 emoji in 98 subcategories and 9 categories, as drawn by two artists' sets. A scene depends on (seed, emoji,
    domain, variant) alone: not on the split, the other domains, or what was asked for before. Boxes and masks do not
    depend on the background.

    Args:
        split: ``'train'`` holds 70 % of the emoji, drawn within each subcategory, ``'held_out'`` the others; of these
            ``'val'`` holds a third, drawn within each category, and ``'test'`` two thirds. They are the same for every
            seed, so that no held-out emoji is seen in training in either domain; ``'all'`` holds all.
        size: of a scene, in pixels: the side, or (height, width).
        background: ``'flat'``: one random color; ``'photo'``: a random piece of one of 16 photographs; ``'none'``:
            transparent, the image then is RGBA with straight alpha, for a transform that draws the background per view.
        domains: which drawings: ``'google'`` (Noto Emoji), ``'twitter'`` (Twemoji).
        level: what the labels tell apart: ``'category'``, ``'subcategory'`` or ``'emoji'``. All classes of a level are
            in ``classes`` whatever the split; train and test share no emoji, so ``'emoji'`` goes with ``split='all'``.
        variants: scenes of each emoji and domain.
        scale: range of the side of the emoji's square, as a share of the scene's shorter side.
        rotation: largest angle to either side, in degrees.
        seed: gives the scenes.

    Attributes:
        labels: class of each scene at ``level``, int64, shape (N,).
        classes: class names at ``level``.
        emoji: emoji number of each scene, int64, shape (N,).
        domain_index: position in ``domains`` of each scene's drawing, int64, shape (N,).
        hierarchy: parents: ``hierarchy['emoji']`` holds the subcategory of each emoji, shape (1906,), and
            ``hierarchy['subcategory']`` the category of each subcategory, shape (98,).

    Raises:
        ConfigError: if an argument is not among its choices or out of range.
    """

    def __init__(
        self,
        split: Literal["train", "val", "test", "held_out", "all"] = "train",
        size: int | tuple[int, int] = 64,
        *,
        background: Literal["flat", "photo", "none"] = "flat",
        domains: Sequence[str] = DOMAINS,
        level: Literal["category", "subcategory", "emoji"] = "category",
        variants: int = 4,
        scale: tuple[float, float] = (0.4, 0.9),
        rotation: float = 30.0,
        seed: int = 0,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("background", background, ("flat", "photo", "none"))
        check_choice("level", level, LEVELS)
        if isinstance(domains, str) or not domains or len(set(domains)) != len(domains):
            raise ConfigError.at("domains", "must be a list of different domains", got=domains)
        for domain in domains:
            check_choice("domains", domain, DOMAINS)
        self.height, self.width = (size, size) if isinstance(size, int) else size
        if min(self.height, self.width) < 8:
            raise ConfigError.at("size", "must be at least 8 pixels", got=size)
        require(variants >= 1, "variants", "must be >= 1", got=variants)
        require(0 < scale[0] <= scale[1] <= 1, "scale", "must be a range within (0, 1]", got=scale)
        require(seed >= 0, "seed", "must be >= 0", got=seed)
        self.split = split
        self.background = background
        self.domains = tuple(domains)
        self.level = level
        self.variants = variants
        self.scale = scale
        self.rotation = rotation
        self.seed = seed
        table = emoji_table()
        chosen = split_emoji(table, split)
        self.emoji = np.repeat(chosen, len(self.domains) * variants)
        self.domain_index = np.tile(np.repeat(np.arange(len(self.domains)), variants), len(chosen))
        self.labels = table.members[level][self.emoji]
        self.classes = table.names[level]

    @property
    def digest(self) -> str:
        """What tells which emoji has which number; how scenes are drawn is no part of it."""
        return f"scenes {self.split} {self.level} {self.variants} {self.seed} {' '.join(self.domains)}"

    @property
    def groups(self) -> np.ndarray:
        """The emoji of each scene: all scenes of an emoji lie on one side of a split."""
        return self.emoji

    @property
    def hierarchy(self) -> dict[str, np.ndarray]:
        """Parents by level, see the class."""
        table = emoji_table()
        _, first = np.unique(table.members["subcategory"], return_index=True)
        return {"emoji": table.members["subcategory"], "subcategory": table.members["category"][first]}

    @property
    def taxonomy(self) -> Hierarchy:
        """What lies above the classes: category and subcategory of emoji, the category of subcategories."""
        table = emoji_table()
        above = LEVELS[: LEVELS.index(self.level)]
        first = [int(np.flatnonzero(table.members[self.level] == number)[0]) for number in range(len(self.classes))]
        lineages = {
            name: tuple(table.names[level][table.members[level][emoji]] for level in above)
            for name, emoji in zip(self.classes, first, strict=True)
        }
        return Hierarchy(above, lineages)

    @cached_property
    def boxes(self) -> np.ndarray:
        """The tight box of each scene's mask: x_min, y_min, x_max, y_max in pixels, float64, shape (N, 4).

        The right and lower edges lie behind the last pixel, so that widths are differences. All masks are drawn for
        this, once.
        """
        return np.array([box_of(self.mask(index)) for index in range(len(self))])

    def __len__(self) -> int:
        return len(self.emoji)

    def name(self, index: int) -> str:
        """Domain, emoji name and variant."""
        emoji = emoji_table().names["emoji"][self.emoji[index]]
        return f"{self.domains[self.domain_index[index]]}/{emoji}#{index % self.variants}"

    def image(self, index: int) -> np.ndarray:
        """Draw a scene.

        Returns:
            uint8, shape (height, width, 3), RGB; with ``background='none'`` shape (height, width, 4), RGBA.
        """
        drawn, rng = self._draw(index)
        color, opacity = drawn[..., :3], cv2.merge([drawn[..., 3]] * 3)
        if self.background == "none":
            return np.dstack([cv2.divide(color, opacity, scale=255), drawn[..., 3]])
        if self.background == "flat":
            behind = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), color.shape)
        else:
            behind = piece_of_photograph(self.height, self.width, rng)
        return cv2.add(cv2.multiply(behind, cv2.bitwise_not(opacity), scale=1 / 255), color)

    def mask(self, index: int) -> np.ndarray:
        """Which pixels show the emoji, at least half as opaque as its most opaque one: bool, shape (height, width)."""
        opacity = self._draw(index)[0][..., 3].astype(np.int32)
        return 2 * opacity >= opacity.max()

    def _draw(self, index: int) -> tuple[np.ndarray, np.random.Generator]:
        """The emoji in its place, RGBA with multiplied colors, and the generator that then draws the background."""
        emoji, domain = int(self.emoji[index]), self.domains[self.domain_index[index]]
        key = (self.seed, emoji, DOMAINS.index(domain), index % self.variants)
        rng = np.random.default_rng(np.random.SeedSequence(key))
        scale_draw, angle_draw, x_draw, y_draw = rng.random(4).tolist()
        shorter = min(self.height, self.width)
        angle = np.deg2rad((2 * angle_draw - 1) * self.rotation)
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        reach = abs(cos) + abs(sin)  # side of the upright square around a turned unit square
        side = min((self.scale[0] + scale_draw * (self.scale[1] - self.scale[0])), 1 / reach) * shorter
        center_x = self.width / 2 + (2 * x_draw - 1) * (self.width - side * reach) / 2
        center_y = self.height / 2 + (2 * y_draw - 1) * (self.height - side * reach) / 2
        drawn = placed(emoji_tile(domain, emoji), side, (cos, sin), (center_x, center_y), self.height, self.width)
        return drawn, rng


def placed(
    tile: np.ndarray, side: float, turned: tuple[float, float], center: tuple[float, float], height: int, width: int
) -> np.ndarray:
    """An emoji at its place in an empty picture.

    Args:
        tile: uint8 RGBA, colors multiplied by their opacity, square.
        side: of the emoji's square in the picture, in pixels.
        turned: cosine and sine of the angle.
        center: x and y in pixels; edges of pixels are whole numbers.
        height, width: of the picture.

    Returns:
        uint8 (height, width, 4), colors multiplied by their opacity.
    """
    if side < TILE:  # shrink by area first: the bilinear turn alone would alias
        shrunk = max(4, round(side))
        tile = cv2.resize(tile, (shrunk, shrunk), interpolation=cv2.INTER_AREA)
    zoom = side / tile.shape[0]
    cos, sin = turned
    middle = (tile.shape[0] - 1) / 2  # pixel centers lie at whole numbers here, half a pixel off the edges
    turn = np.array([[cos, -sin], [sin, cos]]) * zoom
    shift = np.array([center[0] - 0.5, center[1] - 0.5]) - turn @ (middle, middle)
    return cv2.warpAffine(tile, np.column_stack([turn, shift]), (width, height))


def split_emoji(table: EmojiTable, split: str) -> np.ndarray:
    """The emoji numbers of a split, ascending; each subcategory of two or more emoji has some on either side."""
    if split == "all":
        return np.arange(len(table.members["emoji"]))
    rng = np.random.default_rng(_SPLIT_SEED)
    in_train = np.zeros(len(table.members["emoji"]), bool)
    for subcategory in range(len(table.names["subcategory"])):
        members = np.flatnonzero(table.members["subcategory"] == subcategory)
        count = round(_TRAIN_SHARE * len(members))
        count = min(max(count, 1), max(len(members) - 1, 1))
        in_train[rng.permutation(members)[:count]] = True
    if split in ("train", "held_out"):
        return np.flatnonzero(in_train if split == "train" else ~in_train)
    in_val = np.zeros(len(in_train), bool)
    for category in range(len(table.names["category"])):
        members = rng.permutation(np.flatnonzero(~in_train & (table.members["category"] == category)))
        in_val[members[: round(len(members) / 3)]] = True
    return np.flatnonzero(in_val if split == "val" else ~in_train & ~in_val)


def piece_of_photograph(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random piece of one of the photographs, uint8 (height, width, 3)."""
    levels = photograph(int(rng.integers(len(photograph_names()))))
    share, x_draw, y_draw, mirror = rng.random(4).tolist()
    share = _PHOTO_SHARE[0] + share * (_PHOTO_SHARE[1] - _PHOTO_SHARE[0])
    zoom = share * min(levels[0].shape[0] / height, levels[0].shape[1] / width)
    level = 0
    while level + 1 < len(levels) and zoom / 2 ** (level + 1) >= 1:
        level += 1
    source = levels[level]
    zoom /= 2**level
    piece_height = min(max(1, round(zoom * height)), source.shape[0])
    piece_width = min(max(1, round(zoom * width)), source.shape[1])
    top = int(y_draw * (source.shape[0] - piece_height + 1))
    left = int(x_draw * (source.shape[1] - piece_width + 1))
    piece = source[top : top + piece_height, left : left + piece_width]
    if mirror < 0.5:
        piece = cv2.flip(piece, 1)
    method = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    return cv2.resize(piece, (width, height), interpolation=method)


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The tight box of a mask, bool (H, W): x_min, y_min, x_max, y_max, the latter two behind the last pixel."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
