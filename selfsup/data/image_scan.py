"""Every image of a source read once, by several processes, and what is remembered of it kept in a file.

793 bytes an image lie in the file, 25 of them in memory. A scan that was broken off resumes, and one that
was finished reads again what has changed since.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfsup.data.decode.decoder import decode_image
from selfsup.data.decode.header import read_header
from selfsup.data.duplicates import SIDE, digest_of, thumbnail_of
from selfsup.data.sources.image_list import ImageList
from selfsup.data.sources.web_shards import WebShards
from selfsup.errors import DecodeError
from selfsup.ops.progress import progress_bar

READABLE, PLAIN, UNREADABLE = 1, 2, 3  # 0: not looked at yet; plain: of a single color
ROW = np.dtype(
    [
        ("digest", "<u8"),
        ("stamp", "<u8"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("state", "u1"),
        ("thumbnail", "u1", (3 * SIDE**2,)),
    ]
)
_JOB = 256  # images
_FEW = 2048  # images up to which processes of their own are not worth their start
_LEAST_SIDE = 16 * SIDE  # that large JPEGs are decoded at: copies are found as at full size, at 4 * SIDE not
_SOURCE: list[Any] = []  # of a worker process, set once


@dataclass(frozen=True, eq=False)
class ImageScan:
    """What was seen of the images of a source.

    Args:
        file: what is kept, a ``ROW`` for each image.
        digests: of the bytes of each file, or of the pixels where there is none, uint64, shape (N,).
        widths: in pixels, as shown; 0 for an unreadable image, uint32, shape (N,).
        heights: likewise.
        states: ``READABLE``, ``PLAIN`` or ``UNREADABLE``, uint8, shape (N,).
    """

    file: Path
    digests: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    states: np.ndarray

    def __len__(self) -> int:
        return len(self.states)

    def thumbnails(self, indices: np.ndarray) -> np.ndarray:
        """Those of chosen images, uint8, shape (n, 768)."""
        return kept_thumbnails(self.file, indices)


def kept_thumbnails(file: Path, indices: np.ndarray) -> np.ndarray:
    """Thumbnails out of a file of rows, read one by one: mapped, all of it would end up in memory."""
    found = np.empty((len(indices), *ROW["thumbnail"].shape), np.uint8)
    start = ROW.itemsize - found.shape[1]  # it comes last
    kept = os.open(file, os.O_RDONLY)
    try:
        for row, index in zip(found, indices.tolist(), strict=True):
            row[:] = np.frombuffer(os.pread(kept, len(row), index * ROW.itemsize + start), np.uint8)
    finally:
        os.close(kept)
    return found


def scan_images(source: Any, folder: Path, *, workers: int = 1) -> ImageScan:
    """Read every image of a source.

    Args:
        source: see :class:`~selfsup.data.ImageSource`.
        folder: where the scan is kept; one of the same images that lies there is taken up.
        workers: processes that decode.

    Raises:
        OSError: if the scan cannot be kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = getattr(source, "digest", None)
    name = hashlib.blake2b(f"{told or source!r} {len(source)}".encode(), digest_size=8).hexdigest()
    file = folder / f"scan-{name}.rows"
    size = len(source) * ROW.itemsize
    if told is None or not file.exists() or file.stat().st_size != size:
        with file.open("wb") as made:
            made.truncate(size)
    missing = _missing(source, file)
    jobs = [missing[start : start + _JOB] for start in range(0, len(missing), _JOB)]
    rows = np.memmap(file, ROW, "r+")
    with progress_bar("reading the images", total=len(missing)) as tick:
        for indices, found in _examined(source, jobs, workers if len(missing) > _FEW else 1):
            rows[indices] = found
            for _ in indices:
                tick()
    rows.flush()
    return _opened(file)


def reason(source: Any, index: int) -> str:
    """Why an image cannot be read; empty if it can."""
    try:
        _decoded(source, index)
    except DecodeError as error:
        return str(error).removeprefix(f"{source.name(index)}: ")
    return ""


def _opened(file: Path) -> ImageScan:
    names = ("digest", "width", "height", "state")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with file.open("rb") as kept:
        while len(rows := np.fromfile(kept, ROW, 65_536)):
            for name in names:
                columns[name].append(rows[name].copy())
    digests, widths, heights, states = (np.concatenate(columns[name]) for name in names)
    return ImageScan(file, digests, widths, heights, states)


def _missing(source: Any, file: Path) -> np.ndarray:
    """Images that have not been looked at, or have changed since."""
    with file.open("rb") as kept:
        stamps, states = [], []
        while len(rows := np.fromfile(kept, ROW, 65_536)):
            stamps.append(rows["stamp"].copy())
            states.append(rows["state"].copy())
    seen = np.flatnonzero(np.concatenate(states))
    kept_stamps = np.concatenate(stamps)
    changed = [index for index in seen.tolist() if _stamp(source, index) != int(kept_stamps[index])]
    missing = np.ones(len(source), bool)
    missing[seen] = False
    missing[changed] = True
    return np.flatnonzero(missing)


def _stamp(source: Any, index: int) -> int:
    """What tells that a file has changed; 0 for one that is gone, and for a source without files."""
    if isinstance(source, WebShards):
        shard = source.place(index)[0]
        path: str | None = os.path.join(source.catalog.base, source.catalog.names[shard])
    else:
        path = _file(source, index)
    if path is None:
        return 0
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return 0
    return (found.st_mtime_ns * 1_000_003 + found.st_size) % (1 << 64)


def _file(source: Any, index: int) -> str | None:
    path = getattr(source, "file", None)
    return path(index) if callable(path) else None


def _examined(source: Any, jobs: list[np.ndarray], workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if workers <= 1:
        for indices in jobs:
            yield indices, _examine(source, indices)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_take_source, initargs=(source,)) as executor:
        waiting = {executor.submit(_examine_in_worker, indices): indices for indices in jobs}
        try:
            for job in as_completed(waiting):
                yield waiting.pop(job), job.result()
                del job
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _take_source(source: Any) -> None:
    cv2.setNumThreads(0)
    _SOURCE.append(source)


def _examine_in_worker(indices: np.ndarray) -> np.ndarray:
    return _examine(_SOURCE[0], indices)


def _examine(source: Any, indices: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(indices), ROW)
    for row, index in zip(rows, indices.tolist(), strict=True):
        row["stamp"] = _stamp(source, index)
        try:
            content, image, size = _decoded(source, index)
        except DecodeError:
            row["state"] = UNREADABLE
            continue
        thumbnail = thumbnail_of(image)
        row["digest"] = digest_of(content)
        row["width"], row["height"] = size
        row["state"] = PLAIN if (thumbnail.reshape(-1, 3) == thumbnail[:3]).all() else READABLE
        row["thumbnail"] = thumbnail
    return rows


def _decoded(source: Any, index: int) -> tuple[bytes, np.ndarray, tuple[int, int]]:
    """The bytes that tell an image from others, its pixels, perhaps fewer, and its width and height."""
    path = _file(source, index)
    if not isinstance(source, WebShards | ImageList):
        image = np.ascontiguousarray(source.image(index))
        content = image.tobytes() if path is None else Path(path).read_bytes()
        return content, image, (image.shape[1], image.shape[0])
    content = source.encoded(index) if isinstance(source, WebShards) else _content(path)
    image = decode_image(
        content,
        min_side=_LEAST_SIDE,
        max_pixels=source.max_pixels,
        bit_depth=source.bit_depth,
        name=source.name(index),
    )
    header = read_header(content)
    short, long = sorted((header.width, header.height))
    return content, image, (short, long) if image.shape[0] > image.shape[1] else (long, short)


def _content(path: str | None) -> bytes:
    assert path is not None
    if not os.path.isfile(path):
        raise DecodeError("no such file")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from None
