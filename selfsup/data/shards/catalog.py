"""Which shards there are, how many images each holds, and where the index of each is kept."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from selfsup.data.shards.names import INDEX_FOLDER, MANIFEST, find_shards, index_file
from selfsup.data.shards.remote import RemoteShards
from selfsup.data.shards.shard_index import (
    VERSION,
    kept_shard_index,
    shard_stamp,
    status_of,
    write_shard_index,
)
from selfsup.data.sources.path_table import PathTable
from selfsup.data.sources.source import printable
from selfsup.data.sources.table_store import default_file, one_at_a_time, prepare_default_folder
from selfsup.errors import DataError, nearest
from selfsup.ops.cpus import available_cpus
from selfsup.ops.files import whole_file, write_whole
from selfsup.ops.progress import progress_bar

_FETCHED = 4  # remote shards indexed side by side
_MANY = 64  # shards from which on processes of their own are worth their start
_WHOLE_NUMBER = re.compile(r"-?\d+", re.ASCII)

logger = logging.getLogger(__name__)


@dataclass
class Catalog:
    """The shards of a source.

    Args:
        base: the folder that names are relative to.
        index: the folder with the index of each shard.
        names: of the shards that are read, relative to ``base``, in their order.
        counts: images of each.
        classes: names in label order; None without labels.
        by_position: whether labels are positions in ``classes`` instead of names.
        digest: what tells these images from others, in keys, order or labels.
        unfinished: shards that their writer has not finished; they are left out.
        damaged: shards that cannot be read, and why; they are left out.
        failed: images that whoever made the shards could not get, as far as that is on record.
    """

    base: str
    index: str
    names: list[str]
    counts: list[int]
    classes: list[str] | None
    by_position: bool
    digest: str
    unfinished: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    failed: int = 0


def make_catalog(
    root: str | os.PathLike[str],
    *,
    labels: str | None,
    classes: Sequence[str] | None,
    index: str | os.PathLike[str] | None,
    leave_out_damaged: bool,
    remote: RemoteShards | None = None,
) -> Catalog:
    """List the shards and index those that are not indexed yet, once for all processes of a machine.

    Each shard's index is a file of its own, so that a run that is killed resumes, and a new shard costs
    itself alone. What is kept of all shards is read in one piece by the next run.

    Args:
        root: see :func:`find_shards`.
        labels: see :func:`~selfsup.data.shards.shard_index.write_shard_index`.
        classes: names in label order; None takes those of the manifest that ``selfsup shard`` writes, or those found.
        index: the folder of the index; None takes ``.selfsup-index`` beside the shards, or where nothing may be written
            there, the machine's folder for temporary files.
        leave_out_damaged: whether a shard that cannot be read is left out.
        remote: the shards, if they are not files of this machine; the index lies in their cache by default.

    Raises:
        DataError: if there are no shards, one is damaged, or the index cannot be written.
    """
    place: Path | RemoteShards
    if remote is None:
        place, names = find_shards(root)
        where, folder = os.fspath(place.resolve()), _index_folder(place, index)
    else:
        place, names, where = remote, list(remote.stamps), remote.url
        folder = remote.folder / f"index-{_short(where)}" if index is None else Path(index).expanduser()
    key = _short(f"{where}\n{os.fspath(root)}\n{labels}")
    file = folder / f"catalog-{key}.json"
    before = _read(file)
    told = _statuses(place, names, before.get("told", {}))
    stamps = _finished(told)
    made_from = {"version": VERSION, "labels": labels, "classes": classes and list(classes)}
    made_from["leave_out_damaged"] = leave_out_damaged
    if (kept := _kept(before, place, folder, made_from, stamps)) is not None:
        return kept
    try:
        with one_at_a_time(file):
            if (kept := _kept(_read(file), place, folder, made_from, stamps)) is not None:
                return kept  # another process has made it
            summaries, damaged = _indexed(place, folder, stamps, labels, leave_out_damaged)
            catalog = _joined(place, folder, summaries, labels, classes)
            catalog.unfinished, catalog.damaged = [name for name in told if name not in stamps], damaged
            catalog.failed = sum(failed or 0 for _, failed in told.values())
            whole = {"made_from": made_from, "catalog": asdict(catalog), "told": _columns(told)}
            write_whole(file, json.dumps(whole))
    except OSError as error:
        raise DataError.at(
            "index", f"cannot keep the index in {folder}: {error.strerror or error}", expected="name another folder"
        ) from None
    return catalog


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _called(place: Path | RemoteShards) -> str:
    return os.fspath(place) if isinstance(place, Path) else place.url


_Told = dict[str, tuple[list[int], int | None]]
"""The stamp of each shard, and how many images are on record as failed; None where there is no record of it."""


def _columns(told: _Told) -> dict[str, list[Any]]:
    """As it is kept: four long lists are read much faster than a hundred thousand short ones."""
    sizes, times = ([stamp[number] for stamp, _ in told.values()] for number in (0, 1))
    return {"names": list(told), "sizes": sizes, "times": times, "failed": [failed for _, failed in told.values()]}


def _rows(kept: Any) -> _Told:
    """The inverse; nothing of what says nothing."""
    try:
        names, *columns = (kept[name] for name in ("names", "sizes", "times", "failed"))
        return {name: ([size, time], failed) for name, size, time, failed in zip(names, *columns, strict=True)}
    except (KeyError, TypeError, ValueError):
        return {}


def _finished(told: _Told) -> dict[str, list[int]]:
    """The stamps of the shards that are finished, as far as that is on record: of all where no shard has a record."""
    has_record = any(failed is not None for _, failed in told.values())
    return {name: stamp for name, (stamp, failed) in told.items() if failed is not None or not has_record}


def _statuses(place: Path | RemoteShards, names: Sequence[str], known: _Told) -> _Told:
    """What is told of each shard now.

    Args:
        place: of the shards; the records of remote ones are not fetched, so that none of their images counts as failed.
        names: of the shards.
        known: what was found the last time, of which what has not changed is taken.
    """
    if isinstance(place, RemoteShards):
        return {name: (place.stamps[name], 0 if place.has_record(name) else None) for name in names}
    base, found = os.path.join(place, ""), _Told()
    for name in names:
        stamp = shard_stamp(os.stat(base + name))  # a million Paths would take longer than what is asked
        entry = known.get(name)
        if entry is None or entry[0] != stamp or entry[1] is None:
            told = status_of(place / name)
            entry = (stamp, None if told is None else _failed(told))
        found[name] = entry
    return found


def _failed(told: dict[str, Any]) -> int:
    try:
        return max(0, int(told["count"]) - int(told["successes"]))
    except (KeyError, TypeError, ValueError):
        return 0


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {**told, "told": _rows(told.get("told"))} if isinstance(told, dict) else {}


def _index_folder(base: Path, index: str | os.PathLike[str] | None) -> Path:
    if index is not None:
        return Path(index).expanduser()
    beside = base / INDEX_FOLDER
    if os.access(beside if beside.is_dir() else base, os.W_OK):
        return beside
    file = default_file({"shards": printable(os.fspath(base.resolve()))})
    if file is None:
        return beside
    folder = file.with_suffix(".index")
    if folder.is_dir():
        os.utime(folder)  # in use: not to be removed
    prepare_default_folder(file.parent)
    return folder


def _kept(
    told: dict[str, Any],
    place: Path | RemoteShards,
    folder: Path,
    made_from: dict[str, Any],
    stamps: dict[str, list[int]],
) -> Catalog | None:
    """What is kept, unless it was made of something else; it names no shard that is not there."""
    try:
        catalog = Catalog(**told["catalog"])
        same = told["made_from"] == made_from and (catalog.base, catalog.index) == (_called(place), os.fspath(folder))
        return catalog if same and set(catalog.names) <= stamps.keys() and _finished(told["told"]) == stamps else None
    except (KeyError, TypeError):
        return None


def _indexed(
    place: Path | RemoteShards, folder: Path, stamps: dict[str, list[int]], labels: str | None, leave_out_damaged: bool
) -> tuple[dict[str, "_Summary"], dict[str, str]]:
    """What the index of every shard says that can be read; and what is wrong with the others."""
    files = {name: index_file(folder, name, labels) for name in stamps}
    found = {name: _summary(kept_shard_index(files[name], stamp, labels)) for name, stamp in stamps.items()}
    missing = [name for name, summary in found.items() if summary is None]
    damaged = dict[str, str]()
    if missing:
        logger.info("indexing %s shards of %s", f"{len(missing):,}", _called(place))
        executor = _executor(len(missing), remote=isinstance(place, RemoteShards))
        with progress_bar(f"indexing {_called(place)}", total=len(missing)) as tick, executor:
            jobs = {executor.submit(_index_one, place, name, files[name], labels): name for name in missing}
            try:
                for job in as_completed(jobs):
                    if (wrong := job.result()) is not None:
                        damaged[jobs[job]] = wrong
                    tick()
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise
    if damaged and not leave_out_damaged:
        name, wrong = min(damaged.items())
        raise DataError.at(
            "root",
            f"{len(damaged):,} of {len(stamps):,} shards cannot be read, {_called(place)}/{name}: {wrong}",
            expected="make it anew, or remove it, or set leave_out_damaged=True",
        )
    whole = [name for name in stamps if name not in damaged]
    return {name: found[name] or _summary(PathTable(files[name])) for name in whole}, dict(sorted(damaged.items()))


class _Summary(NamedTuple):
    """What is kept of a shard's index while all are looked at: each open table is an open file."""

    num_images: int
    digest: str
    classes: list[str]


@overload
def _summary(table: PathTable) -> _Summary: ...
@overload
def _summary(table: None) -> None: ...
def _summary(table: PathTable | None) -> _Summary | None:
    return None if table is None else _Summary(len(table), table.header["digest"], table.header["classes"])


def _executor(jobs: int, *, remote: bool) -> Executor:
    workers = min(jobs, available_cpus())
    if remote:
        return ThreadPoolExecutor(min(jobs, _FETCHED))  # they wait for the network
    if jobs < _MANY or workers == 1:
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _index_one(place: Path | RemoteShards, shard: str, file: Path, labels: str | None) -> str | None:
    """What is wrong with a shard; None if it is indexed now."""
    if isinstance(place, RemoteShards):
        return place.index(shard, file, labels, os.fspath(index_file(Path(INDEX_FOLDER), shard, labels)))
    beside = index_file(place / INDEX_FOLDER, shard, labels)  # which another user may have made
    try:
        if beside != file and kept_shard_index(beside, shard_stamp(os.stat(place / shard)), labels) is not None:
            with whole_file(file) as partial:
                shutil.copyfile(beside, partial)
        else:
            write_shard_index(place / shard, file, labels)
    except ValueError as error:
        return str(error)
    return None


def _joined(
    place: Path | RemoteShards,
    folder: Path,
    shards: dict[str, _Summary],
    labels: str | None,
    classes: Sequence[str] | None,
) -> Catalog:
    names = [name for name, shard in shards.items() if shard.num_images]
    if not names:
        raise DataError.at("root", f"the shards of {_called(place)} hold no images")
    found, by_position = None, False
    if labels is not None:
        texts = {text for shard in shards.values() for text in shard.classes}
        if not texts:
            raise DataError.at(
                "labels", f"no image of {_called(place)} has a label", got=labels, expected="use labels=None"
            )
        given = list(classes) if classes is not None else manifest_classes(place) if labels == "cls" else None
        found, by_position = _class_names(texts, given, positions_first=labels == "cls")
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(json.dumps([name, shards[name].digest, shards[name].classes]).encode())
    return Catalog(
        base=_called(place),
        index=os.fspath(folder),
        names=names,
        counts=[shards[name].num_images for name in names],
        classes=found,
        by_position=by_position,
        digest=digest.hexdigest(),
    )


def class_positions(texts: Sequence[str], catalog: Catalog) -> np.ndarray:
    """Where the labels of a shard stand among all classes, and -1 behind them, int64."""
    position = {name: number for number, name in enumerate(catalog.classes or ())}
    return np.array([*(int(text) if catalog.by_position else position[text] for text in texts), -1], np.int64)


def _class_names(texts: set[str], given: list[str] | None, *, positions_first: bool) -> tuple[list[str], bool]:
    """The classes, and whether labels are positions among them."""
    numbers = all(_WHOLE_NUMBER.fullmatch(text) for text in texts)
    if given is None:
        return sorted(texts, key=int if numbers else None), False
    unknown = [text for text in sorted(texts) if text not in given]
    could_be_positions = numbers and all(0 <= int(text) < len(given) for text in texts)
    if could_be_positions and (positions_first or unknown):
        return given, True
    if unknown:
        raise DataError.at("classes", "a label is not among them", got=unknown[0], expected=nearest(unknown[0], given))
    return given, False


def manifest_classes(place: Path | RemoteShards) -> list[str] | None:
    """The names of the classes that ``selfsup shard`` has written beside its shards; None for none."""
    try:
        told = (place / MANIFEST).read_bytes() if isinstance(place, Path) else place.small_file(MANIFEST)
        return json.loads(told).get("classes")
    except (OSError, ValueError, AttributeError):
        return None


def counts_before(catalog: Catalog) -> np.ndarray:
    """The number of each shard's first image, and of all images at the end, int64, shape (S + 1,)."""
    return np.concatenate([[0], np.cumsum(np.array(catalog.counts, np.int64))])
