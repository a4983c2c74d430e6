"""What is wrong with a source of images: unreadable, tiny and repeated ones, and those that occur elsewhere too."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfsup.data.duplicates import differences
from selfsup.data.image_scan import READABLE, UNREADABLE, ImageScan, reason, scan_images
from selfsup.data.near_duplicates import joined, near_pairs
from selfsup.errors import require
from selfsup.ops.files import whole_file

SIDES = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Where the bins of the shorter side begin."""
ASPECTS = (0.0, 1 / 3, 1 / 2, 2 / 3, 4 / 5, 0.98, 1.02, 5 / 4, 3 / 2, 2.0, 3.0)
"""Where the bins of width / height begin; that of square images is one in a hundred to either side."""
KINDS = {  # what is said of each
    "unreadable": "cannot be read",
    "tiny": "a shorter side below --tiny",
    "exact": "same bytes as an image before",
    "near": "same picture as one before",
    "leak_exact": "of --against, same bytes",
    "leak_near": "of --against, same picture",
}
_BLOCK = 4096


class Finding(NamedTuple):
    """One row of the table.

    Args:
        kind: a key of ``KINDS``.
        image: its name.
        other: the name of the image that it repeats, if it does.
        detail: why it cannot be read, its size, or how far the two are apart.
    """

    kind: str
    image: str
    other: str = ""
    detail: str = ""


@dataclass(frozen=True, eq=False)
class DataReport:
    """What was found in a source of N images, and in a second one of M.

    Args:
        source: the images.
        scan: what was seen of them.
        against: the second source, or None.
        scan_against: of that.
        tiny_side: images whose shorter side is less are tiny.
        groups: of each image of both sources, one behind the other, the first that it repeats, directly or by others
            in between; itself for most; int64, shape (N + M,).
        same_bytes: likewise, of those with equal bytes.
    """

    source: Any
    scan: ImageScan
    against: Any
    scan_against: ImageScan | None
    tiny_side: int
    groups: np.ndarray
    same_bytes: np.ndarray

    @property
    def of_kind(self) -> dict[str, np.ndarray]:
        """By kind, the images that it was found of: positions among both sources, ascending."""
        count, images = len(self.scan), np.arange(len(self.groups))
        own = images < count
        repeats = own & (self.groups < images)
        leaks = ~own & (self.groups < count)
        exact = self.same_bytes < np.where(own, images, count)
        tiny = np.zeros(len(images), bool)
        shorter = np.minimum(self.scan.widths, self.scan.heights)
        tiny[:count] = (shorter < self.tiny_side) & (self.scan.states != UNREADABLE)
        chosen = {
            "unreadable": np.append(self.scan.states == UNREADABLE, np.zeros(len(images) - count, bool)),
            "tiny": tiny,
            "exact": repeats & exact,
            "near": repeats & ~exact,
            "leak_exact": leaks & exact,
            "leak_near": leaks & ~exact,
        }
        return {kind: np.flatnonzero(found) for kind, found in chosen.items()}

    def findings(self) -> Iterator[Finding]:
        """A row for each thing that is wrong, by kind."""
        for kind, found in self.of_kind.items():
            for start in range(0, len(found), _BLOCK):
                yield from self._rows(kind, found[start : start + _BLOCK])

    def _rows(self, kind: str, images: np.ndarray) -> Iterator[Finding]:
        if kind == "unreadable":
            yield from (Finding(kind, self.name(image), "", reason(self.source, image)) for image in images.tolist())
        elif kind == "tiny":
            for image in images.tolist():
                size = f"{self.scan.widths[image]} x {self.scan.heights[image]}"
                yield Finding(kind, self.name(image), "", size)
        else:
            others = (self.same_bytes if kind.endswith("exact") else self.groups)[images]
            apart = differences(self._thumbnails(images), self._thumbnails(others))
            for image, other, difference in zip(images.tolist(), others.tolist(), apart, strict=True):
                detail = "" if kind.endswith("exact") else f"{difference:.1f} of 255 levels apart"
                yield Finding(kind, self.name(image), self.name(other), detail)

    def name(self, image: int) -> str:
        """Of an image of either source."""
        source, index = self.place(image)
        return source.name(index)

    def place(self, image: int) -> tuple[Any, int]:
        """The source of an image, and its number there."""
        count = len(self.scan)
        return (self.source, image) if image < count else (self.against, image - count)

    def groups_of(self, kinds: Sequence[str], most: int) -> list[list[int]]:
        """The largest groups with a finding of one of these kinds, each begun by the image that is repeated."""
        found = np.concatenate([self.of_kind[kind] for kind in kinds])
        firsts, sizes = np.unique(self.groups[found], return_counts=True)
        largest = firsts[np.argsort(-sizes, kind="stable")[:most]]
        return [[int(first), *found[self.groups[found] == first].tolist()] for first in largest]

    def shorter_sides(self) -> np.ndarray:
        """Readable images by the bins of ``SIDES``, int64."""
        return _counted(np.minimum(self.scan.widths, self.scan.heights)[self.scan.states != UNREADABLE], SIDES)

    def aspects(self) -> np.ndarray:
        """Readable images by the bins of ``ASPECTS``, int64."""
        shown = self.scan.states != UNREADABLE
        return _counted(self.scan.widths[shown] / np.maximum(self.scan.heights[shown], 1), ASPECTS)

    def _thumbnails(self, images: np.ndarray) -> np.ndarray:
        return _thumbnails_of(self.scan, self.scan_against, images)


def report_on(source: Any, folder: Path, *, against: Any = None, tiny_side: int = 32, workers: int = 1) -> DataReport:
    """Read a source, and a second one, and look for what is wrong with the first.

    Memory grows with a few small numbers an image; pixels stay on the disk, 793 bytes an image of both.

    Args:
        source: see :class:`~selfsup.data.ImageSource`.
        folder: keeps what was seen, so that the next report reads what has changed alone.
        against: images that should not be among those of the source, such as the test images of a task.
        tiny_side: images whose shorter side is less are tiny, >= 0.
        workers: processes that decode.

    Raises:
        ConfigError: if the side is negative.
        OSError: if nothing can be kept in the folder.
    """
    require(tiny_side >= 0, "tiny_side", "must be >= 0", got=tiny_side)
    scan = scan_images(source, folder, workers=workers)
    other = None if against is None else scan_images(against, folder, workers=workers)
    scans = [scan] if other is None else [scan, other]
    states, digests = (np.concatenate([getattr(each, name) for each in scans]) for name in ("states", "digests"))
    sides = np.concatenate([np.minimum(each.widths, each.heights) for each in scans])
    images = np.arange(len(states))
    readable = np.flatnonzero(states != UNREADABLE)
    _, first, which = np.unique(digests[readable], return_index=True, return_inverse=True)
    same_bytes = images.copy()
    same_bytes[readable] = readable[first][which]
    alone = np.flatnonzero((states == READABLE) & (same_bytes == images))
    pairs = near_pairs(lambda chosen: _thumbnails_of(scan, other, chosen), alone, sides[alone])
    groups = joined(same_bytes, *pairs)
    return DataReport(source, scan, against, other, tiny_side, groups, same_bytes)


def write_findings(report: DataReport, file: Path) -> None:
    """Write a table with the columns kind, image, other and detail.

    Raises:
        OSError: if it cannot be written.
    """
    with whole_file(file) as partial, partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out:
        table = csv.writer(out)
        table.writerow(Finding._fields)
        table.writerows(report.findings())


def _thumbnails_of(scan: ImageScan, other: ImageScan | None, images: np.ndarray) -> np.ndarray:
    if other is None:
        return scan.thumbnails(images)
    own = images < len(scan)
    found = np.empty((len(images), scan.thumbnails(images[:0]).shape[1]), np.uint8)
    found[own] = scan.thumbnails(images[own])
    found[~own] = other.thumbnails(images[~own] - len(scan))
    return found


def _counted(values: np.ndarray, starts: Sequence[float]) -> np.ndarray:
    return np.bincount(np.searchsorted(starts, values, side="right") - 1, minlength=len(starts))
