"""Where each image of a shard lies, found once and kept in a small file: from then on it is one read at an offset."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.shards.tar_members import Member, tar_members
from selfsup.data.sources.path_table import Contents, PathTable, write_path_table
from selfsup.data.sources.source import printable

VERSION = 1
IMAGE_ENDINGS = frozenset(
    b"jpg jpeg jpe jfif png apng webp gif bmp dib tif tiff avif jp2 j2k jpx ppm pgm pbm pnm heic heif hif".split()
)
CLASS_ENDINGS = (b"cls", b"cls.txt")
UNLABELLED = ("", "-1", "nan", "none", "null")
_KEY = re.compile(rb"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)  # webdataset's rule: up to the first dot of the file's name
_MOST_LABEL = 1 << 20  # bytes of a file that holds labels
_MOST_CLASSES = 1_000_000


def write_shard_index(shard: Path, file: Path, labels: str | None, *, stamp: list[int] | None = None) -> PathTable:
    """Find the images of a shard and keep where they lie.

    Args:
        shard: a tar file.
        file: where to keep it; whole or not there.
        labels: ``'cls'``, the file beside each image with that ending; a key of the JSON beside it; None for none.
        stamp: what tells that the shard is another one than before; None for that of the file.

    Returns:
        The keys of the images in their order, with arrays ``image_offsets`` (int64) and ``image_sizes`` (int64), with
        ``labels`` (positions in the header's ``classes``, -1 for none) if they are wanted.

    Raises:
        ValueError: if the shard is damaged, or a label cannot be read.
        OSError: if it cannot be read, or the index cannot be written.
    """
    offsets, sizes, numbers = list[int](), list[int](), list[int]()
    codes, seen, without = dict[str, int](), set[bytes](), 0
    tar = os.open(shard, os.O_RDONLY)
    try:
        stamp = shard_stamp(os.fstat(tar)) if stamp is None else stamp

        def keys() -> Iterator[bytes]:
            nonlocal without
            for key, files in _samples(tar_members(tar)):
                image = next((each for end, each in files.items() if end.rpartition(b".")[2] in IMAGE_ENDINGS), None)
                if image is None:
                    without += 1
                    continue
                if key in seen:
                    raise ValueError(f"two images are called {printable(key)}")
                seen.add(key)
                offsets.append(image.offset)
                sizes.append(image.size)
                if labels is not None:
                    label = _label(tar, key, files, labels)
                    numbers.append(-1 if label.lower() in UNLABELLED else codes.setdefault(label, len(codes)))
                    if len(codes) > _MOST_CLASSES:
                        raise ValueError(f"over {_MOST_CLASSES:,} different labels")
                yield key

        def finish() -> Contents:
            places = {"image_offsets": np.array(offsets, np.int64), "image_sizes": np.array(sizes, np.int64)}
            contents = Contents(extra=places)
            if labels is not None:
                contents.arrays["labels"] = np.array(numbers, np.int64)
            contents.header = {
                "version": VERSION,
                "stamp": stamp,
                "of": labels,
                "classes": list(codes),
                "without_image": without,
            }
            return contents

        return write_path_table(keys(), finish, file=file)
    finally:
        os.close(tar)


def kept_shard_index(file: Path, stamp: list[int], labels: str | None) -> PathTable | None:
    """The index of a shard, if it is there and made of this very file."""
    try:
        table = PathTable(file)
        header = table.header
    except (OSError, ValueError):
        return None
    fits = (header.get("version"), header.get("stamp"), header.get("of")) == (VERSION, stamp, labels)
    return table if fits else None


def take_over(table: PathTable, file: Path, stamp: list[int], labels: str | None) -> None:
    """Keep an index that was made of the same shard elsewhere.

    Raises:
        ValueError: if it is of another shard, or cannot be right.
    """
    header = table.header
    offsets, sizes, numbers = (table.array(name) for name in ("image_offsets", "image_sizes", "labels"))
    if (header["version"], header["of"], header["stamp"][0]) != (VERSION, labels, stamp[0]):
        raise ValueError("of another shard")
    arrays = [offsets, sizes] if labels is None else [offsets, sizes, numbers]
    if any(array is None or array.dtype != np.int64 or len(array) != len(table) for array in arrays):
        raise ValueError("damaged")
    assert offsets is not None and sizes is not None
    if len(table) and (offsets.min() < 0 or sizes.min() < 0 or (offsets + sizes).max() > stamp[0]):
        raise ValueError("leads out of the shard")
    contents = Contents(extra={"image_offsets": offsets, "image_sizes": sizes})
    if labels is not None and numbers is not None:
        if len(table) and not -1 <= numbers.min() <= numbers.max() < len(header["classes"]):
            raise ValueError("labels without a class")
        contents.arrays["labels"] = numbers
    contents.header = {
        "version": VERSION,
        "stamp": stamp,
        "of": labels,
        "classes": [str(name) for name in header["classes"]],
        "without_image": int(header["without_image"]),
    }
    write_path_table((table[row] for row in range(len(table))), lambda: contents, file=file)


def shard_stamp(status: os.stat_result) -> list[int]:
    """What tells that a shard is another file than before: its size and time."""
    return [status.st_size, status.st_mtime_ns]


def status_of(shard: Path) -> dict[str, Any] | None:
    """What img2dataset, or ``selfsup shard``, says of a shard it has finished: counts by kind; None if nothing.

    It writes ``00000_stats.json`` when a shard is whole. Where only the table beside it is there (``00000.parquet``),
    its column ``status`` is counted.
    """
    stats, table = shard.with_name(f"{shard.stem}_stats.json"), shard.with_suffix(".parquet")
    try:
        told = json.loads(stats.read_text(encoding="utf-8"))
        return told if isinstance(told, dict) else None
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        return None
    if not table.is_file():
        return None
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        return None  # it is a check; the shard itself says what it holds
    try:
        column = parquet.read_table(table, columns=["status"]).column("status")
    except (OSError, KeyError, ArrowException):
        return None
    counts = Counter(str(value) for value in column.to_pylist())
    return {"count": sum(counts.values()), "successes": counts.get("success", 0), "status_dict": dict(counts)}


def _samples(members: Iterator[Member]) -> Iterator[tuple[bytes, dict[bytes, Member]]]:
    """Files one behind the other with one key are a sample; by key, its files by ending."""
    current, files = b"", dict[bytes, Member]()
    for member in members:
        found = _KEY.fullmatch(member.name)
        if found is None:
            continue
        key, ending = found[1], found[2].lower()
        if key != current:
            if files:
                yield current, files
            current, files = key, {}
        files[ending] = member
    if files:
        yield current, files


def _label(tar: int, key: bytes, files: dict[bytes, Member], wanted: str) -> str:
    if wanted == "cls":
        member = next((files[ending] for ending in CLASS_ENDINGS if ending in files), None)
        return "" if member is None else _read(tar, key, member).decode("utf-8", "replace").strip()
    if (member := files.get(b"json")) is None:
        return ""
    try:
        told = json.loads(_read(tar, key, member))
    except (ValueError, RecursionError):
        raise ValueError(f"the JSON of {printable(key)} cannot be read") from None
    value = told.get(wanted) if isinstance(told, dict) else None
    return "" if value is None else str(value).strip()


def _read(tar: int, key: bytes, member: Member) -> bytes:
    if member.size > _MOST_LABEL:
        raise ValueError(f"the label of {printable(key)} has {member.size:,} bytes, at most {_MOST_LABEL:,} are read")
    return os.pread(tar, member.size, member.offset)
