"""A source of files that an annotation file names."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from selfsup.data.decode.decoder import decode_image
from selfsup.data.sources.source import LabelSets


class NamedFiles:
    """Image files below a folder, with labels.

    Args:
        root: the folder.
        names: paths relative to it, with slashes.
        labels: int64 (N,), -1 for none; or the classes of each image.
        classes: names of the classes.
        border: pixels that are cut off at each edge.
    """

    groups = None

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: np.ndarray | LabelSets,
        classes: Sequence[str],
        *,
        border: int = 0,
    ) -> None:
        self.root, self.names, self.labels, self.classes, self.border = root, names, labels, list(classes), border

    @property
    def decoding(self) -> dict[str, int]:
        """The arguments that decide which pixels a file becomes."""
        return {"border": self.border}

    def __len__(self) -> int:
        return len(self.names)

    def file(self, index: int) -> str:
        """The path of the image."""
        return str(self.root / self.names[index])

    def name(self, index: int) -> str:
        """The path relative to the root."""
        return self.names[index]

    def image(self, index: int) -> np.ndarray:
        """The image, uint8 (H, W, 3).

        Raises:
            DecodeError: if it cannot be decoded.
        """
        image = decode_image(self.file(index), name=self.names[index])
        cut = self.border
        return image[cut : image.shape[0] - cut, cut : image.shape[1] - cut] if cut else image

    @cached_property
    def digest(self) -> str:
        """What tells this list from others."""
        digest = hashlib.blake2b(digest_size=16)
        for index, name in enumerate(self.names):
            digest.update(f"{name}\t{np.asarray(self.labels[index]).tolist()}\n".encode())
        return digest.hexdigest()


def label_sets(rows: Sequence[Sequence[tuple[int, int]]], num_classes: int, *, unlisted: int = 0) -> LabelSets:
    """What is known of each image, as a source holds it.

    Args:
        rows: for each image classes with their values, see :class:`~selfsup.data.LabelSets`.
        num_classes: C.
        unlisted: value of the others.
    """
    offsets = np.cumsum([0, *map(len, rows)])
    pairs = np.array([pair for row in rows for pair in row], np.int64).reshape(-1, 2)
    return LabelSets(pairs[:, 0], offsets, num_classes, values=pairs[:, 1].astype(np.int8), unlisted=unlisted)
