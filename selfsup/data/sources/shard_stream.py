"""Shards that come and go during a training: one pass, each image once, in an order that a log makes repeatable.

SEER trains on a billion images of which none is older than 90 days, so that no list of them exists beforehand. Here the
sequence is laid down piece by piece: whichever process first needs an image beyond the end of the log takes a lock,
looks which finished shards are new, and appends them as the next generation. From then on it is part of the sequence
for all processes, and for a run that is resumed, on however many processes: image n of the stream is a function of n
and the log alone.

The log itself, and the images that stand in for those that are gone, are in ``stream_log``.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image
from selfsup.data.shards.names import INDEX_FOLDER, find_shards, index_file, is_url
from selfsup.data.shards.opened import MAX_BYTES, OPEN_SHARDS, OpenTar, Recent
from selfsup.data.shards.remote import RemoteShards
from selfsup.data.shards.shard_index import kept_shard_index, shard_stamp, status_of, write_shard_index
from selfsup.data.shards.stream_log import Generation, StreamLog
from selfsup.data.sources.path_table import PathTable
from selfsup.data.sources.source import printable
from selfsup.errors import ConfigError, DataError, DecodeError, require
from selfsup.ops.locks import held
from selfsup.registry import DATASETS

_LOOK_AGAIN = 1.0  # seconds between two looks at the folder

logger = logging.getLogger(__name__)


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
        self.log = StreamLog(Path(log).expanduser(), seed)
        self.shards_at_once = shards_at_once
        self.when_empty = when_empty
        self.seed = seed
        self.min_side = min_side
        self.max_pixels = max_pixels
        self.index = kept if index is None else Path(index).expanduser()
        self._open_anew()
        self.log.read()

    @property
    def generations(self) -> list[Generation]:
        """What of the stream is laid down, as far as it was read."""
        return self.log.generations

    def _open_anew(self) -> None:
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
        if index >= self.log.end:
            self.log.read()

        def there() -> bool:
            while index >= self.log.end:
                if not self._grow():
                    return False
            return True

        if index >= self.log.end:
            self._until(there, index)
        return self.log.place(index)

    def stand_in(self, index: int) -> None:
        """Give the place of an image that cannot be read to one that has none.

        Raises:
            DataError: if there is none left and the stream has ended.
        """

        def put() -> bool:
            while not self.log.spares_left:
                if not self._grow(only_new=True):
                    return False
            self.log.add_stand_in(index)
            return True

        self._until(put, index)

    def _until(self, done: Callable[[], bool], index: int) -> None:
        """Try something with the lock held, the log read, until it is done; wait for shards or end as it was chosen."""
        waited = False
        while True:
            with held(self.log.file.with_name(f"{self.log.file.name}.lock"), patience=3600):
                self.log.read()
                if done():
                    return
            if self.when_empty == "end":
                raise DataError.at(
                    str(self.root),
                    f"the stream ends after {self.log.end:,} images, and number {index:,} was asked for",
                    expected="resume when there are new shards",
                )
            if not waited:
                logger.warning("%s: waiting for image %s; there are %s so far", self.root, index, self.log.end)
            waited = True
            time.sleep(_LOOK_AGAIN)

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
        if not found and (only_new or not self.log.spares_left):
            return False
        self.log.add_generation(found)
        return True

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

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_tables", "_tars")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open_anew()
