"""Image sources that each break one rule."""

from itertools import count
from typing import Any

import numpy as np

from tests.contracts.rejection import Broken, changed
from tests.contracts.sound import Images

_calls = count()
_one = np.zeros((4, 4, 3), np.uint8)


def images(**methods: Any) -> type:
    return changed(Images, **methods)


def _unreadable(self: Any, index: int) -> np.ndarray:
    raise OSError("no such file")


SOURCES = [
    Broken(images(name=None), "must have name"),
    Broken(images(__len__=lambda self: 0), "must have at least one image"),
    Broken(images(image=_unreadable), "image(0) must not raise: OSError: no such file"),
    Broken(images(image=lambda self, index: _one / 255), "got float64 (4, 4, 3)"),
    Broken(images(image=lambda self, index: _one + np.uint8(next(_calls) % 7)), "must be the same each time, in an"),
    Broken(images(image=lambda self, index: _one), "must be the same each time, in an array of its own"),
    Broken(images(name=lambda self, index: index), "name(index) must be a text, got 0, 1"),
    Broken(images(name=lambda self, index: "photo"), "names must be unique, got 2"),
    Broken(images(name=lambda self, index: f"{index}{np.random.rand() * 0}"), "must not use a global random generator"),
    Broken(images(classes=("ant", "ant")), "classes must be different names"),
    Broken(images(labels=[0, 1]), "labels must be 3 whole numbers, got int64 (2,)"),
    Broken(images(groups=[0.5, 1, 2]), "groups must be 3 whole numbers, got float64 (3,)"),
    Broken(images(labels=[0, 1, 2]), "labels must be -1 or positions in 2 classes, got 0 to 2"),
]
