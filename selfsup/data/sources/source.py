"""What everything that gives images offers."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from selfsup.errors import DataError, nearest


@runtime_checkable
class ImageSource(Protocol):
    """Images by index. Three methods are required; the rest may be absent or None.

    Optional attributes:
        labels: ``Sequence[int] | LabelSets``: the position of each image's class in ``classes``, -1 for an image
            without a label. An array, or what looks labels up by number, slice or array and has a length.
        classes: ``Sequence[str]``, the names of the classes. Sources are joined by these names.
        groups: ``Sequence[int]``; images of one group never lie on both sides of a split. A number should stay the same
            when other images are added.
        targets: ``targets(index) -> dict``, boxes and masks.
        file: ``file(index) -> str``, the path of the image's file.
        decoding: ``Mapping[str, object]``, the arguments that decide which pixels a file becomes.
        shard_starts: int64, shape (S + 1,), the number of the first image of each shard, and of all images at the end,
            where images lie in large files.
        digest: text that differs between two lists of images. A run that is resumed rejects another list.
    """

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """The image at ``index``: uint8 RGB, shape (H, W, 3), or RGBA, shape (H, W, 4).

        Raises:
            DecodeError: if it cannot be decoded.
        """
        ...

    def name(self, index: int) -> str:
        """The name of the image, unique and stable: what tables, lists and splits show."""
        ...


def printable(path: str | bytes) -> str:
    """A path as it can be shown and written anywhere: bytes that are no text become ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def group_number(name: str) -> int:
    """The number of a group by its name: it stays the same whatever other groups there are."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def file_or_name(source: Any, index: int) -> str:
    """What a message calls an image: the path of its file, printable, or its name where it has none."""
    file = getattr(source, "file", None)
    return source.name(index) if file is None else printable(file(index))


class LabelSets:
    """For every image the numbers of its classes, held one behind the other: no row of zeros per image.

    Args:
        numbers: class numbers of all images, int64, shape (M,).
        offsets: where each image's numbers begin in ``numbers``, and M at the end; int64, shape (N + 1,).
        num_classes: C.
        chosen: which images, as indices into all of them; None for all.
        values: what each number says of its class, int8 (M,): 1 it shows, 0 it does not, -1 it does not count in this
            image, such as the 'difficult' objects of VOC. None: all show.
        unlisted: the same of classes without a number: 0, or -1 where nobody has looked for them.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        offsets: np.ndarray,
        num_classes: int,
        chosen: Any = None,
        *,
        values: np.ndarray | None = None,
        unlisted: int = 0,
    ) -> None:
        self.numbers = numbers
        self.offsets = offsets
        self.num_classes = num_classes
        self.values = values
        self.unlisted = unlisted
        self._chosen = range(len(offsets) - 1) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> np.ndarray:
        """1 for each class of the image and 0 for all others, uint8, shape (C,)."""
        return (self.row(index) > 0).astype(np.uint8)

    def row(self, index: int) -> np.ndarray:
        """1 for each class of the image, -1 for what does not count, 0 for all others, int8, shape (C,)."""
        return self.matrix([index])[0]

    def matrix(self, indices: Any = None) -> np.ndarray:
        """:meth:`row` of all images, or of some, int8, shape (N, C)."""
        image, entry = self._entries(indices)
        shape = (len(self) if indices is None else len(indices), self.num_classes)
        found = np.full(shape, self.unlisted, np.int8)
        values = np.ones(len(entry), np.int8) if self.values is None else self.values[entry]
        order = np.argsort(values, kind="stable")  # of several numbers of one class the highest value counts
        found[image[order], self.numbers[entry[order]]] = values[order]
        return found

    def counts(self) -> np.ndarray:
        """How many images show each class, int64, shape (C,); without a matrix."""
        image, entry = self._entries(None)
        if self.values is not None:
            shown = self.values[entry] > 0
            image, entry = image[shown], entry[shown]
        pairs = np.unique(image * self.num_classes + self.numbers[entry])
        return np.bincount(pairs % self.num_classes, minlength=self.num_classes)

    def _entries(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """For each number of the images: which of them it belongs to, and its place in ``numbers``."""
        chosen = np.asarray(
            self._chosen[:] if indices is None else [self._chosen[index] for index in indices], np.int64
        )
        offsets = np.asarray(self.offsets)
        starts, sizes = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
        image = np.repeat(np.arange(len(chosen)), sizes)
        before = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        return image, before + np.arange(len(image))

    def renumbered(self, numbers: np.ndarray, num_classes: int) -> "LabelSets":
        """The same sets with other class numbers."""
        how: dict[str, Any] = {"values": self.values, "unlisted": self.unlisted}
        return LabelSets(numbers, self.offsets, num_classes, self._chosen, **how)

    def of(self, indices: Any) -> "LabelSets":
        """Those of chosen images."""
        chosen = indices if isinstance(self._chosen, range) else ChosenLabels(self._chosen, indices)
        how: dict[str, Any] = {"values": self.values, "unlisted": self.unlisted}
        return LabelSets(self.numbers, self.offsets, self.num_classes, chosen, **how)


class ChosenLabels:
    """The labels, or the groups, of chosen images, looked up when they are asked for.

    Args:
        values: of all images: one number each.
        indices: the chosen images; has a length, and numbers by number, slice or array.
    """

    def __init__(self, values: Any, indices: Any) -> None:
        self._values = values
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._values[self._indices[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def choose_labels(labels: Any, indices: Any) -> Any:
    """The labels of chosen images; None without labels."""
    if isinstance(labels, LabelSets):
        return labels.of(indices)
    return None if labels is None else ChosenLabels(labels, indices)


def single_labels(source: Any) -> Any:
    """The labels of a source whose images have one label each; None otherwise."""
    labels = getattr(source, "labels", None)
    return None if isinstance(labels, LabelSets) else labels


class Relabeled:
    """A source whose labels are positions in another list of classes, matched by name.

    Args:
        source: has labels and classes.
        classes: the new list.

    Raises:
        DataError: if a class of the source is not in the list.
    """

    def __init__(self, source: Any, classes: Sequence[str]) -> None:
        self._source = source
        self.classes = list(classes)
        position = {name: number for number, name in enumerate(classes)}
        unknown = [name for name in source.classes if name not in position]
        if unknown:
            raise DataError.at("classes", f"{unknown[0]!r} is not among them", expected=nearest(unknown[0], classes))
        self._numbers = np.array([*(position[name] for name in source.classes), -1], np.int64)  # -1 stays -1

    @property
    def labels(self) -> Any:
        """The labels, renumbered."""
        labels = self._source.labels
        if isinstance(labels, LabelSets):
            return labels.renumbered(self._numbers[labels.numbers], len(self.classes))
        return None if labels is None else ChosenLabels(self._numbers, labels)

    def __len__(self) -> int:
        return len(self._source)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by pickle before there is a source
            raise AttributeError(name)
        return getattr(self._source, name)


def join_classes(sources: Sequence[Any]) -> list[Any]:
    """The sources with one list of classes: those of the first, then what the others add, matched by name.

    A source that has that list already is returned as it is.
    """
    joined = list(dict.fromkeys(name for source in sources for name in source.classes))
    return [source if list(source.classes) == joined else Relabeled(source, joined) for source in sources]
