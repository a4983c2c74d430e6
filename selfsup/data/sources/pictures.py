"""The pictures that come with the package: two sheets of emoji and 16 photographs (licences: NOTICE beside them)."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

DOMAINS = ("google", "twitter")
TILE = 64

_COLUMNS = 44
_HALVINGS = 4


@dataclass(frozen=True)
class EmojiTable:
    """The names of all emoji and the classes they belong to.

    Attributes:
        names: by level (``emoji``, ``subcategory``, ``category``), in the order of the Unicode tables.
        members: by level, the class of each emoji, int64 of shape (emoji,).
    """

    names: dict[str, list[str]]
    members: dict[str, np.ndarray]


@cache
def emoji_table() -> EmojiTable:
    """Read the names."""
    listed = json.loads((files("selfsup.data") / "emoji" / "emoji.json").read_text(encoding="utf-8"))["emoji"]
    names: dict[str, list[str]] = {}
    members: dict[str, np.ndarray] = {}
    for level, key in (("emoji", "name"), ("subcategory", "subcategory"), ("category", "category")):
        numbers: dict[str, int] = {}
        members[level] = np.array([numbers.setdefault(entry[key], len(numbers)) for entry in listed], np.int64)
        names[level] = list(numbers)
    return EmojiTable(names, members)


def emoji_tile(domain: str, emoji: int) -> np.ndarray:
    """One emoji: uint8 RGBA, shape (64, 64, 4), colors multiplied by their opacity; a view of the sheet."""
    row, column = divmod(emoji, _COLUMNS)
    return _sheet(domain)[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


@cache
def _sheet(domain: str) -> np.ndarray:
    sheet = cv2.cvtColor(_decode("emoji", f"{domain}_{TILE}.webp", cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    sheet[..., :3] = cv2.multiply(sheet[..., :3], cv2.merge([sheet[..., 3]] * 3), scale=1 / 255)
    return sheet


@cache
def photograph_names() -> tuple[str, ...]:
    """File names of the photographs, sorted."""
    return tuple(
        sorted(file.name for file in (files("selfsup.data") / "photos").iterdir() if file.name.endswith("jpg"))
    )


@cache
def photograph(number: int) -> tuple[np.ndarray, ...]:
    """One photograph at its full size and at 1/2, 1/4 and 1/8 of it: uint8 RGB, short side 640, 320, 160 and 80."""
    levels = [_decode("photos", photograph_names()[number], cv2.IMREAD_COLOR_RGB)]
    for _ in range(_HALVINGS - 1):
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)


def _decode(folder: str, name: str, flag: int) -> np.ndarray:
    content = (files("selfsup.data") / folder / name).read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if picture is None:
        raise RuntimeError(f"the packaged picture {folder}/{name} cannot be decoded; is the installation complete?")
    return picture
