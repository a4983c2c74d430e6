"""Images as WebDataset shards: by several processes, whole shards or none, the same bytes every time."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from selfsup.data.shards.names import INDEX_FOLDER, MANIFEST, index_file
from selfsup.data.shards.shard_index import status_of, write_shard_index
from selfsup.data.sources.source import LabelSets
from selfsup.errors import ConfigError, DataError
from selfsup.ops.files import settle, write_whole
from selfsup.ops.progress import progress_bar

_CHUNK = 1 << 20
_SOURCE: list[Any] = []  # of a worker process, set once


@dataclass(frozen=True)
class ShardReport:
    """What was written: shards, of which some were there before, images, bytes, and images that could not be read."""

    shards: int
    kept: int
    images: int
    bytes: int
    unreadable: int


def write_shards(
    source: Any, folder: str | os.PathLike[str], *, images_per_shard: int = 10_000, workers: int = 1
) -> ShardReport:
    """Write a source of files as shards, ``00000.tar`` and so on, as they are, without decoding them.

    An image is ``000000012.jpg`` (its number in the source), with ``000000012.json``, which holds its path and, where
    the source has labels, the name of its class, and ``000000012.cls``, the number of it. Beside each shard stands
    ``00000_stats.json`` as img2dataset writes it, with a checksum, which says that it is whole; ``manifest.json`` is
    written last. Broken off, even by the system, the same call resumes.

    Args:
        source: has ``file(index)``, such as :class:`~selfsup.data.ImageList`.
        folder: where to; it must be new, or hold the shards of the same source and arguments.
        images_per_shard: >= 1.
        workers: processes that read and write; one works in this process.

    Raises:
        ConfigError: if the folder holds shards of something else, or a number is not positive.
        DataError: if the source has no files.
        OSError: if a shard cannot be written.
    """
    for name, number in (("images_per_shard", images_per_shard), ("workers", workers)):
        if number < 1:
            raise ConfigError.at(name, "must be >= 1", got=number)
    if getattr(source, "file", None) is None:
        raise DataError.at("source", f"{type(source).__name__} has no files to put into shards")
    out = Path(folder).expanduser()
    plan = {"source": source.digest, "images": len(source), "images_per_shard": images_per_shard}
    _begin(out, plan)
    shards = range(-(-len(source) // images_per_shard))
    done = {shard: told for shard in shards if (told := _finished(out, shard)) is not None}
    missing = [shard for shard in shards if shard not in done]
    kept = len(done)
    with progress_bar(f"writing {out}", total=len(missing)) as tick:
        for shard, told in _written(source, out, missing, images_per_shard, min(workers, len(missing))):
            done[shard] = told
            tick()
    listed = [{"name": _name(shard), **done[shard]} for shard in shards]
    classes = getattr(source, "classes", None)
    manifest = {**plan, "classes": None if classes is None else list(classes), "shards": listed}
    write_whole(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (out / _PLAN).unlink(missing_ok=True)
    return ShardReport(
        shards=len(shards),
        kept=kept,
        images=sum(told["successes"] for told in listed),
        bytes=sum(told["bytes"] for told in listed),
        unreadable=sum(told["count"] - told["successes"] for told in listed),
    )


def check_shards(folder: str | os.PathLike[str]) -> list[str]:
    """The shards of a folder that differ from the manifest beside them: gone, of another size, or with other bytes.

    Raises:
        DataError: if there is no manifest.
    """
    out = Path(folder).expanduser()
    try:
        listed = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError.at("folder", f"no {MANIFEST} that can be read", got=os.fspath(out)) from None
    wrong = []
    for told in listed:
        shard = out / Path(told["name"]).name  # a manifest that comes from elsewhere names no other folder
        if not shard.is_file() or shard.stat().st_size != told["bytes"] or _checksum(shard) != told["blake2b"]:
            wrong.append(told["name"])
    return wrong


_PLAN = ".plan.json"


def _begin(out: Path, plan: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in (_PLAN, MANIFEST):
        try:
            there = json.loads((out / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError:
            there = {}
        if any(there.get(key) != value for key, value in plan.items()):
            raise ConfigError.at("OUT", f"{out} holds shards of other images or sizes", expected="name a new folder")
        return
    if any(out.glob("*.tar")):
        raise ConfigError.at("OUT", f"{out} holds shards that were not written here", expected="name a new folder")
    write_whole(out / _PLAN, json.dumps(plan))


def _name(shard: int) -> str:
    return f"{shard:05d}.tar"


def _finished(out: Path, shard: int) -> dict[str, Any] | None:
    """What was noted of a shard that is whole."""
    told = status_of(out / _name(shard))
    whole = told is not None and "blake2b" in told and (out / _name(shard)).is_file()
    return told if whole and told and (out / _name(shard)).stat().st_size == told["bytes"] else None


def _written(
    source: Any, out: Path, shards: list[int], images_per_shard: int, workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    if workers <= 1:
        for shard in shards:
            yield shard, _write_shard(source, out, shard, images_per_shard)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_take_source, initargs=(source,)) as executor:
        jobs = {executor.submit(_write_in_worker, out, shard, images_per_shard): shard for shard in shards}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _take_source(source: Any) -> None:
    _SOURCE.append(source)


def _write_in_worker(out: Path, shard: int, images_per_shard: int) -> dict[str, Any]:
    return _write_shard(_SOURCE[0], out, shard, images_per_shard)


def _write_shard(source: Any, out: Path, shard: int, images_per_shard: int) -> dict[str, Any]:
    first = shard * images_per_shard
    indices = range(first, min(first + images_per_shard, len(source)))
    final, successes = out / _name(shard), 0
    partial = final.with_name(f".{final.name}.partial")
    digits = max(9, len(str(len(source))))
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for index in indices:
            path = source.file(index)
            try:
                content = Path(path).read_bytes()
            except OSError:
                continue
            successes += 1
            for ending, piece in _pieces(source, index, path, content):
                member = tarfile.TarInfo(f"{index:0{digits}d}.{ending}")  # no owner, no time: the same bytes every time
                member.size = len(piece)
                tar.addfile(member, io.BytesIO(piece))
    checksum, size = _checksum(partial), partial.stat().st_size
    settle(partial, final)
    for labels in (None,) if getattr(source, "labels", None) is None else (None, "cls"):
        write_shard_index(final, index_file(out / INDEX_FOLDER, final.name, labels), labels)
    told = {"count": len(indices), "successes": successes, "bytes": size, "blake2b": checksum}
    write_whole(final.with_name(f"{final.stem}_stats.json"), json.dumps(told))
    return told


def _pieces(source: Any, index: int, path: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of one image by ending."""
    yield os.path.splitext(path)[1].lstrip(".").lower() or "jpg", content
    told: dict[str, Any] = {"path": source.name(index)}
    labels, classes = getattr(source, "labels", None), getattr(source, "classes", None)
    if labels is not None and not isinstance(labels, LabelSets) and int(labels[index]) >= 0:
        told["label"] = classes[int(labels[index])] if classes else int(labels[index])
        yield "cls", str(int(labels[index])).encode()
    yield "json", json.dumps(told).encode()


def _checksum(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
