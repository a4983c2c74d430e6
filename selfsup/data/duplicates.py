"""Images that occur twice: equal bytes, and copies that were scaled or compressed again."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfsup.errors import DecodeError
from selfsup.ops.images import on_background
from selfsup.ops.progress import progress_after

SIDE = 16  # of the thumbnails that are compared
_COARSE = 8  # of those that candidates are found by
_LIKE = 0.98  # cosine of coarse thumbnails without their mean; 99.5 % of the copies measured lie above 0.995
_LEVELS = 2.0, 10.0  # most root mean square difference of thumbnails of large and of tiny images, of 255
_SIDE_OF_2_LEVELS = 300  # what compression changes grows as 1 / side: measured on scenes and photographs of 48 to 200
_SHARE = 0.2  # most of the difference as a share of the thumbnail's own standard deviation
_GROUND = (127, 127, 127)
_QUERIES, _KEYS = 1024, 65_536  # compared at a time: 256 MiB of similarities


@dataclass(frozen=True, eq=False)
class Signatures:
    """What images are recognized by, 780 bytes an image.

    Args:
        digests: of the bytes of the file, or of the pixels where there is no file, uint64 (N,).
        thumbnails: averages over 16 x 16 fields, uint8 (N, 768); zeros for an image that cannot be decoded.
        sides: the shorter side of each image in pixels, uint32 (N,); 0 for one that cannot be decoded.
    """

    digests: np.ndarray
    thumbnails: np.ndarray
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.digests)


@dataclass(frozen=True, eq=False)
class Copies:
    """Pairs of images that are the same.

    Args:
        queries: positions among the images that were looked for, int64 (P,), ascending.
        keys: one position for each among the images that were searched: equal bytes before near-equal ones.
        exact: whether the bytes are equal, bool (P,).
    """

    queries: np.ndarray
    keys: np.ndarray
    exact: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)


def signatures(source: Any, *, num_workers: int = 2, title: str = "looking for copies") -> Signatures:
    """Read every image of a source once.

    Args:
        source: see :class:`~selfsup.data.ImageSource`.
        num_workers: threads that decode.
        title: of the progress bar.
    """
    path = getattr(source, "file", None)

    def of_one(index: int) -> tuple[int, np.ndarray, int]:
        file = path(index) if callable(path) else None
        try:
            image = np.ascontiguousarray(on_background(source.image(index), _GROUND))
        except DecodeError:
            return digest_of(source.name(index).encode("utf-8", "backslashreplace")), np.zeros(3 * SIDE**2, np.uint8), 0
        content = Path(file).read_bytes() if file is not None and Path(file).is_file() else image.tobytes()
        return digest_of(content), thumbnail_of(image), min(image.shape[:2])

    digests, sides = np.zeros(len(source), np.uint64), np.zeros(len(source), np.uint32)
    thumbnails = np.zeros((len(source), 3 * SIDE**2), np.uint8)
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        for start in range(0, len(source), _QUERIES):
            part = range(start, min(start + _QUERIES, len(source)))
            found = progress_after(pool.map(of_one, part), total=len(part), title=title)
            for index, (digest, thumbnail, side) in zip(part, found, strict=True):
                digests[index], thumbnails[index], sides[index] = digest, thumbnail, side
    return Signatures(digests, thumbnails, sides)


def find_copies(queries: Signatures, keys: Signatures) -> Copies:
    """For each image that occurs among others, one of those.

    Equal bytes are found whatever they show, others by :func:`near_equal`. An image cut out of another, mirrored or
    recolored is no copy, and neither are two images of a single color.

    Args:
        queries: the images that are looked for.
        keys: the images that are searched.
    """
    key_of = np.full(len(queries), -1, np.int64)
    order = np.argsort(keys.digests, kind="stable")
    place = np.searchsorted(keys.digests[order], queries.digests)
    there = place < len(keys)
    there[there] = keys.digests[order[place[there]]] == queries.digests[there]
    key_of[there] = order[place[there]]
    exact = there.copy()
    closest = np.full(len(queries), np.inf)
    coarse = _directions(queries.thumbnails)
    for first in range(0, len(keys), _KEYS):
        block = _directions(keys.thumbnails[first : first + _KEYS])
        for start in range(0, len(queries), _QUERIES):
            rows, columns = np.nonzero(coarse[start : start + _QUERIES] @ block.T > _LIKE)
            rows, columns = rows + start, columns + first
            sides = np.minimum(queries.sides[rows], keys.sides[columns])
            apart, alike = near_equal(queries.thumbnails[rows], keys.thumbnails[columns], sides)
            for row, column, difference in zip(rows[alike], columns[alike], apart[alike], strict=True):
                if not exact[row] and difference < closest[row]:
                    closest[row], key_of[row] = difference, column
    found = np.flatnonzero(key_of >= 0)
    return Copies(found, key_of[found], exact[found])


def thumbnail_of(image: np.ndarray) -> np.ndarray:
    """What an image is recognized by: averages over 16 x 16 fields, uint8, shape (768,)."""
    image = np.ascontiguousarray(on_background(image, _GROUND))
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(-1)


def digest_of(content: bytes) -> int:
    """What equal bytes have in common, and no others: 64 bits."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _directions(thumbnails: np.ndarray) -> np.ndarray:
    """Coarse thumbnails without their mean, of length 1; zeros for a single color. float32 (N, 192)."""
    fields = thumbnails.reshape(-1, _COARSE, SIDE // _COARSE, _COARSE, SIDE // _COARSE, 3)
    coarse = fields.mean((2, 4), dtype=np.float32).reshape(len(thumbnails), -1)
    coarse -= coarse.mean(axis=1, keepdims=True)
    return coarse / np.maximum(np.linalg.norm(coarse, axis=1, keepdims=True), 1.0)


def differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square differences of thumbnails (P, 768), in levels of 255."""
    return np.sqrt(((one.astype(np.float32) - other) ** 2).mean(axis=1))


def near_equal(one: np.ndarray, other: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The differences of pairs of thumbnails, and whether they are those of copies.

    Thumbnails of copies differ by 2 levels of 255 at most; where the smaller image has a side of less than 300 pixels,
    by 600 / side, and 10 at most. They also differ by no more than a fifth of the thumbnail's standard deviation.

    Args:
        one: thumbnails (P, 768).
        other: as many.
        sides: the shorter side of the smaller image of each pair, in pixels, (P,).
    """
    allowed = np.clip(_LEVELS[0] * _SIDE_OF_2_LEVELS / np.maximum(sides, 1), *_LEVELS)
    apart = differences(one, other)
    return apart, (apart <= allowed) & (apart <= _SHARE * one.astype(np.float32).std(axis=1))
