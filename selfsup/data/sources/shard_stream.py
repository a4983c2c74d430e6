"""Shards that come and go during a training: one pass, each image once, in an order that a log makes repeatable.

SEER trains on a billion images of which none is older than 90 days, so that no list of them exists beforehand. Here the
sequence is laid down piece by piece: whichever process first needs an image beyond the end of the log takes a lock,
looks which finished shards are new, and appends them as the next generation. From then on it is part of the sequence
for all processes, and for a run that is resumed, on however many processes: image n of the stream is a function of n
and the log alone.

Where an image is gone when its turn comes, no other one may be shown twice for it. So a few images of each generation
are spared: they have no place of their own, and the log says which of them takes the place of which image. Those that
are left when the next generation begins are images of that.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image
from selfsup.data.sampler import FeistelPermutation
from selfsup.data.shards.names import INDEX_FOLDER, find_shards, index_file, is_url
from selfsup.data.shards.remote import RemoteShards
from selfsup.data.shards.shard_index import kept_shard_index, shard_stamp, status_of, write_shard_index
from selfsup.data.sources.path_table import PathTable
from selfsup.data.sources.source import printable
from selfsup.data.sources.web_shards import MAX_BYTES, OPEN_SHARDS, OpenTar, Recent
from selfsup.errors import ConfigError, DataError, DecodeError, require
from selfsup.ops.files import WholeAppends
from selfsup.ops.locks import held
from selfsup.registry import DATASETS

_LOOK_AGAIN = 1.0  # seconds between two looks at the folder
_SPARED = 8  # one in so many images: of 64 shards as many as 8 have, which may be taken away at once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """Shards that joined the stream together.

    Args:
        number: from 0.
        first: number of its first image in the stream.
        shards: their names.
        starts: the number within the generation of each shard's first image, and of all at the end.
        order: of the images within the generation, those that were carried over last before they are mixed.
        num_spare: images at the end of the order that have no place in the stream.
        before: the generation before, of which the spared images that were not used are images of this one.
        used: how many of those were.
    """

    number: int
    first: int
    shards: tuple[str, ...]
    starts: np.ndarray = field(repr=False)
    order: FeistelPermutation = field(repr=False)
    num_spare: int = 0
    before: "Generation | None" = field(default=None, repr=False)
    used: int = 0

    def place(self, position: int) -> tuple[str, int]:
        """The shard of an image of the stream, and its row there; from ``end`` on those of the spared images."""
        image = self.order.at(position - self.first)
        if image >= self.starts[-1]:
            assert self.before is not None
            return self.before.place(self.before.end + self.used + image - int(self.starts[-1]))
        shard = int(np.searchsorted(self.starts, image, side="right")) - 1
        return self.shards[shard], image - int(self.starts[shard])

    @property
    def end(self) -> int:
        """Number of the first image after it."""
        return self.first + self.order.length - self.num_spare


@DATASETS.register_module()
class ShardStream:
    """The images of WebDataset tars in a folder to which new ones are added, and old ones taken away, at any time.

    For a single pass (``max_steps``), without labels and split. A shard joins once it is whole, in the order of names;
    images of a generation are mixed with each other. A shard's name is used once: it never joins again. The place of an
    image whose shard is taken away before its turn, or that cannot be read, is given to one that has none, so that none
    is seen twice and each that stays is seen; ``bad_images.txt`` names what was skipped.

    Args:
        root: the folder, or the URL of one.
        num_images: the length of the stream, for schedules: a run may not ask for more.
        log: the file with the generations; each run has its own, where all its processes see it.
        shards_at_once: the most shards of a generation, >= 1; no others are read at a time.
        when_empty: ``'wait'`` for new shards, or ``'end'`` the run, which is saved and may be resumed later.
        seed: of the order.
        min_side: see ``decode_image``.
        max_pixels: see ``decode_image``.
        index: the folder of the shards' indices; default: ``.selfsup-index`` in ``root``, or in the cache.
        schemes: of URLs that may be opened, see :class:`~selfsup.data.WebShards`.
        cache: of shards behind a URL; a generation has no more of them than fit into half of it.

    Raises:
        ConfigError: if a number is not positive.
        DataError: if the log cannot be read, or is of another stream.
    """

    in_order = True
    """The stream has its own order: the sampler takes its images one after the other."""
    labels = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        num_images: int,
        log: str | os.PathLike[str],
        shards_at_once: int = 64,
        when_empty: Literal["wait", "end"] = "wait",
        seed: int = 0,
        min_side: int | None = None,
        max_pixels: int = MAX_PIXELS,
        index: str | os.PathLike[str] | None = None,
        schemes: Sequence[str] = (),
        cache: Mapping[str, Any] | None = None,
    ) -> None:
        require(num_images >= 1, "num_images", "must be >= 1", got=num_images)
        require(shards_at_once >= 1, "shards_at_once", "must be >= 1", got=shards_at_once)
        if when_empty not in ("wait", "end"):
            raise ConfigError.at("when_empty", "must be 'wait' or 'end'", got=when_empty)
        self.root = root if is_url(root) else Path(root).expanduser()
        self.remote: RemoteShards | None = None
        kept = Path(self.root, INDEX_FOLDER)
        if isinstance(root, str) and is_url(root):
            self.remote = RemoteShards(root, schemes=schemes, cache=cache, may_be_empty=True)
            kept = self.remote.folder / f"index-{hashlib.blake2b(root.encode(), digest_size=8).hexdigest()}"
        self.num_images = num_images
        self.log = Path(log).expanduser()
        self.shards_at_once = shards_at_once
        self.when_empty = when_empty
        self.seed = seed
        self.min_side = min_side
        self.max_pixels = max_pixels
        self.index = kept if index is None else Path(index).expanduser()
        self._open_anew()
        self._read_log()

    def _open_anew(self) -> None:
        self.generations: list[Generation] = []
        self._stand_ins: dict[int, tuple[str, int]] = {}
        self._spares_used = 0  # of the last generation
        self._read_to = 0
        self._tables: Recent[str, PathTable] = Recent(self._open_table, OPEN_SHARDS)
        self._tars: Recent[str, OpenTar] = Recent(self._open_tar, OPEN_SHARDS)

    def _open_table(self, shard: str) -> PathTable:
        if self.remote is not None:
            self._indexed(shard)  # another machine may have looked at it
        return PathTable(index_file(self.index, shard, None))

    def _open_tar(self, shard: str) -> OpenTar:
        return OpenTar(os.path.join(self.root, shard))

    @property
    def digest(self) -> str:
        """What tells this stream from others: not its images, of which more will come."""
        return f"stream {self.seed} {self.num_images}"

    def __len__(self) -> int:
        return self.num_images

    def name(self, index: int) -> str:
        """The shard and the key in it; waits for the image as :meth:`image` does. Of one that never came its number."""
        try:
            shard, row = self.place(index)
        except DataError:
            return f"image {index} of the stream"
        try:
            key = printable(self._tables[shard][row])
        except OSError:
            key = str(row)
        return f"{printable(shard).removesuffix('.tar')}/{key}"

    def served(self) -> tuple[int, int] | None:
        """Reads of all processes of this machine, and how many waited for their shard; None for files."""
        return None if self.remote is None else self.remote.served()

    def image(self, index: int) -> np.ndarray:
        """Decode an image of the stream.

        Returns:
            RGB image, uint8, shape (H, W, 3).

        Raises:
            DecodeError: if its shard is gone, or it cannot be decoded.
            DataError: if the stream has ended before it.
        """
        shard, row = self.place(index)
        try:
            table = self._tables[shard]
            offsets, sizes = table.array("image_offsets"), table.array("image_sizes")
            assert offsets is not None and sizes is not None
            if not 0 <= sizes[row] <= MAX_BYTES:
                raise DecodeError(f"{shard}: an image of {sizes[row]:,} bytes, at most {MAX_BYTES:,} are read")
            content, size_of_shard = self._content(shard, int(sizes[row]), int(offsets[row]))
        except OSError as error:
            raise DecodeError(f"{shard}: {error.strerror or error}") from None
        if size_of_shard != table.header["stamp"][0]:
            raise DecodeError(f"{shard} has changed since it joined the stream")
        return decode_image(content, min_side=self.min_side, max_pixels=self.max_pixels, name=self.name(index))

    def _content(self, shard: str, size: int, offset: int) -> tuple[bytes, int]:
        """A piece of a shard, and how large the shard is."""
        if self.remote is not None:
            return self.remote.read(shard, size, offset), self.remote.sizes[shard]
        os.stat(os.path.join(self.root, shard))  # taken away, it may still be open here
        tar = self._tars[shard]
        return os.pread(tar.descriptor, size, offset), tar.size

    def place(self, index: int) -> tuple[str, int]:
        """The shard that an image lies in, and its row there; makes generations until there is one that has it.

        Raises:
            IndexError: if the stream is not to have so many.
            DataError: if it has ended before.
        """
        index = range(self.num_images)[int(index)]
        if index >= self._end:
            self._read_log()

        def there() -> bool:
            while index >= self._end:
                if not self._grow():
                    return False
            return True

        if index >= self._end:
            self._until(there, index)
        if (stand_in := self._stand_ins.get(index)) is not None:
            return stand_in
        firsts = [generation.first for generation in self.generations]
        return self.generations[int(np.searchsorted(firsts, index, side="right")) - 1].place(index)

    def stand_in(self, index: int) -> None:
        """Give the place of an image that cannot be read to one that has none.

        Raises:
            DataError: if there is none left and the stream has ended.
        """

        def put() -> bool:
            while self._spares_used >= (self.generations[-1].num_spare if self.generations else 0):
                if not self._grow(only_new=True):
                    return False
            self._append({"position": index, "spare": self._spares_used})
            return True

        self._until(put, index)

    def _until(self, done: Callable[[], bool], index: int) -> None:
        """Try something with the lock held, the log read, until it is done; wait for shards or end as it was chosen."""
        waited = False
        while True:
            with held(self.log.with_name(f"{self.log.name}.lock"), patience=3600):
                self._read_log()
                if done():
                    return
            if self.when_empty == "end":
                raise DataError.at(
                    str(self.root),
                    f"the stream ends after {self._end:,} images, and number {index:,} was asked for",
                    expected="resume when there are new shards",
                )
            if not waited:
                logger.warning("%s: waiting for image %s; there are %s so far", self.root, index, self._end)
            waited = True
            time.sleep(_LOOK_AGAIN)

    @property
    def _end(self) -> int:
        return self.generations[-1].end if self.generations else 0

    def _grow(self, *, only_new: bool = False) -> bool:
        """Append a generation to the log; only who holds the lock may.

        Args:
            only_new: not if there are no new shards; otherwise the images that were spared are a generation then.
        """
        known = {shard for generation in self.generations for shard in generation.shards}
        found: list[tuple[str, int]] = []
        names, is_whole = self._there(known)
        most = self.shards_at_once if self.remote is None else min(self.shards_at_once, self.remote.most_at_once)
        for name in names:
            if len(found) == most:
                break
            if is_whole(name) and (count := self._indexed(name)):
                found.append((name, count))
        carried = self.generations[-1].num_spare - self._spares_used if self.generations else 0
        if not found and (only_new or not carried):
            return False
        total = carried + sum(count for _, count in found)
        line = {
            "number": len(self.generations),
            "seed": self.seed,
            "shards": found,
            "used": self._spares_used,
            "spare": min(-(-total // _SPARED), total - 1),
        }
        self._append(line)
        return True

    def _append(self, line: dict[str, Any]) -> None:
        _drop_unfinished_line(self.log)
        appends = WholeAppends(self.log)
        try:
            appends.write(json.dumps(line).encode() + b"\n")
        finally:
            appends.close()
        self._read_log()

    def _there(self, known: set[str]) -> tuple[list[str], Callable[[str], bool]]:
        """The shards that are there and not known, and whether one is finished, as far as that is on record."""
        if self.remote is not None:
            names = [name for name in self.remote.refresh() if name not in known]
            finished = {name: self.remote.has_record(name) for name in names}
        else:
            try:
                names = [name for name in find_shards(self.root)[1] if name not in known]
            except DataError:
                names = []  # none yet, or none anymore
            finished = {name: status_of(Path(self.root, name)) is not None for name in names}
        recorded = any(finished.values())
        return names, lambda name: finished[name] or not recorded

    def _indexed(self, shard: str) -> int:
        """Images of a shard; 0 for one that is not whole, or gone already."""
        file = index_file(self.index, shard, None)
        try:
            if self.remote is not None:
                if shard not in self.remote.stamps:
                    self.remote.refresh()
                table = kept_shard_index(file, self.remote.stamps.get(shard, []), None)
                if table is None and self.remote.index(shard, file, None, f"{INDEX_FOLDER}/{file.name}") is not None:
                    return 0
                return len(table or PathTable(file))
            path = Path(self.root, shard)
            kept = kept_shard_index(file, shard_stamp(os.stat(path)), None)
            return len(kept if kept is not None else write_shard_index(path, file, None))
        except (OSError, ValueError):
            return 0

    def _read_log(self) -> None:
        """Take over the generations that were appended since the last time."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("rb") as file:
                file.seek(self._read_to)
                content = file.read()
        except FileNotFoundError:
            return
        for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            try:
                told: dict[str, Any] = json.loads(line)
                if "position" in told:
                    self._take_stand_in(int(told["position"]), int(told["spare"]))
                    self._read_to += len(line)
                    continue
                generation = self._generation(told)
            except (ValueError, KeyError, TypeError, IndexError):
                raise DataError.at("log", f"{self.log} is damaged in generation {len(self.generations)}") from None
            if (told["number"], told["seed"]) != (len(self.generations), self.seed):
                raise DataError.at("log", f"{self.log} is of another stream", got=(told["number"], told["seed"]))
            self.generations.append(generation)
            self._spares_used = 0
            self._read_to += len(line)

    def _generation(self, told: dict[str, Any]) -> Generation:
        """What a line of the log says; one of before there were spared images says nothing of them."""
        shards = [(str(name), int(count)) for name, count in told["shards"]]
        if any(os.path.isabs(name) or ".." in Path(name).parts for name, _ in shards):
            raise ValueError("a name that leads out of the folder")
        before = self.generations[-1] if self.generations else None
        used, spare, there = int(told.get("used", 0)), int(told.get("spare", 0)), before.num_spare if before else 0
        starts = np.cumsum([0, *(count for _, count in shards)])
        order = FeistelPermutation(int(starts[-1]) + there - used, (int(told["seed"]), int(told["number"])))
        if not (0 <= used <= there and 0 <= spare < order.length):
            raise ValueError("more images than there are")
        return Generation(
            number=len(self.generations),
            first=self._end,
            shards=tuple(name for name, _ in shards),
            starts=starts,
            order=order,
            num_spare=spare,
            before=before,
            used=used,
        )

    def _take_stand_in(self, position: int, spare: int) -> None:
        last = self.generations[-1]
        if not 0 <= spare < last.num_spare or not 0 <= position < last.end:
            raise ValueError("no such image")
        self._stand_ins[position] = last.place(last.end + spare)
        self._spares_used = spare + 1

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_tables", "_tars")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open_anew()


def _drop_unfinished_line(log: Path) -> None:
    """What a process that was killed while it wrote has left."""
    if log.exists() and (content := log.read_bytes()) and not content.endswith(b"\n"):
        with log.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
