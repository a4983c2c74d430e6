"""What tells the images of a source from others, wherever they lie."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data import LabelSets
from selfsup.errors import DecodeError

SAMPLED = 200
"""Images of a part whose content is part of its fingerprint."""

_THREADS = 16  # that ask for sizes: on a network file system each answer is waited for
_SIZES_AT_ONCE = 1000


def fingerprint(source: Any) -> str:
    """A digest of a source's images: names, labels by class name, sizes of files, content of a few hundred, and the
    arguments of decoding.

    Where there are no files the pixels of those few hundred count.

    Args:
        source: see :class:`~selfsup.data.ImageSource`; names that are paths count from their common folder on.
    """
    names = [source.name(index) for index in range(len(source))]
    start = common_folder(names)
    digest = hashlib.blake2b(digest_size=16)
    labels = getattr(source, "labels", None)
    classes = getattr(source, "classes", None)
    for index, name in enumerate(names):
        label: Any = None
        if labels is not None:
            label = labels.row(index) if isinstance(labels, LabelSets) else int(labels[index])
        if isinstance(label, np.ndarray):
            there = np.flatnonzero(label).tolist()
            shown: Any = [(classes[number] if classes is not None else number, int(label[number])) for number in there]
        else:
            shown = classes[label] if classes is not None and label is not None and label >= 0 else label
        digest.update(f"{name[start:]}\t{shown}\n".encode("utf-8", "backslashreplace"))
    if getattr(source, "targets", None) is not None and getattr(source, "digest", None) is not None:
        digest.update(source.digest.encode())  # boxes and masks
    path = getattr(source, "file", None)
    if callable(path):
        digest.update(json.dumps(getattr(source, "decoding", None), sort_keys=True).encode())
        digest.update(_sizes(path, len(names)).tobytes())
    for index in np.linspace(0, len(names) - 1, min(SAMPLED, len(names))).astype(int).tolist():
        file = path(index) if callable(path) else None
        if file is not None and Path(file).is_file():
            digest.update(Path(file).read_bytes())
            continue
        try:
            digest.update(source.image(index).tobytes())
        except DecodeError:
            digest.update(b"cannot be decoded")
    return digest.hexdigest()


def common_folder(names: list[str]) -> int:
    """How many characters of names that are paths lead to the folder all of them lie in."""
    if not names:
        return 0
    first, last = min(names), max(names)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first.rfind("/", 0, same) + 1


def _sizes(path: Callable[[int], str], count: int) -> np.ndarray:
    """The bytes of each file, int64; -1 for one that is not there."""

    def some(start: int) -> list[int]:
        return [_size(path(index)) for index in range(start, min(start + _SIZES_AT_ONCE, count))]

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.array([size for sizes in pool.map(some, range(0, count, _SIZES_AT_ONCE)) for size in sizes], "<i8")


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return -1
