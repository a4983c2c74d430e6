"""Label names to label numbers, without holding a name per image."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfsup.errors import DataError, did_you_mean


class LabelNumbers:
    """Collects the label of one image after the other, or its labels.

    Args:
        separator: stands between several labels of one image; None if each has one.
    """

    def __init__(self, separator: str | None = None) -> None:
        self._separator = separator
        self._codes: dict[str, int] = {}
        self._labels = array("q")
        self._offsets = array("q", [0])
        self._first_missing: bytes | None = None
        self._missing = 0

    def add(self, label: str | None, path: bytes) -> None:
        """Take the label of the next image; ``None`` or ``''`` where it has none."""
        names = [label] if label else []
        if label and self._separator is not None:
            names = [name for name in map(str.strip, label.split(self._separator)) if name]
        if not names:
            self._missing += 1
            self._first_missing = self._first_missing or path
        self._labels.extend(self._codes.setdefault(name, len(self._codes)) for name in names)
        self._offsets.append(len(self._labels))

    @property
    def offsets(self) -> np.ndarray:
        """Where the labels of each image begin, and their number at the end: int64, shape (N + 1,)."""
        return np.array(self._offsets, np.int64)

    def finish(self, where: Path, classes: Sequence[str] | None, *, keep_numbers: bool) -> tuple[np.ndarray, list[str]]:
        """Number the labels.

        Args:
            where: the folder or list, for messages.
            classes: names in label order; ``None``: those found, sorted.
            keep_numbers: if all names are whole numbers and ``classes`` is not given, take them as they are.

        Returns:
            The labels of all images one behind the other, int64, shape (N,) if each has one, and the class names in
            label order.

        Raises:
            DataError: if an image has no label, or one that is not among ``classes``.
        """
        if self._missing:
            first = (self._first_missing or b"").decode("utf-8", "backslashreplace")
            raise DataError(
                f"{where}: {self._missing:,} of {len(self._offsets) - 1:,} images have no label, the first is {first}; "
                "label all of them, or use labels=None"
            )
        names = list(self._codes)
        if classes is not None:
            known = {name: number for number, name in enumerate(classes)}
            for name in names:
                if name not in known:
                    raise DataError(f"{where}: label {name!r} is not among the classes{did_you_mean(name, known)}")
            numbers = [known[name] for name in names]
            names = list(classes)
        elif keep_numbers and all(name.isascii() and name.isdigit() for name in names):
            numbers = [int(name) for name in names]
            if max(numbers) > 10_000_000:
                raise DataError(f"{where}: label {max(numbers)} is too large for a class number; was an id meant?")
            names = [str(number) for number in range(max(numbers) + 1)]
        else:
            rank = {name: number for number, name in enumerate(sorted(names))}
            numbers = [rank[name] for name in names]
            names = sorted(names)
        return np.array(numbers, np.int64)[np.frombuffer(self._labels, np.int64)], names
