"""Images in tar files as WebDataset and img2dataset have them, each read at its place without the others."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image
from selfsup.data.shards.catalog import Catalog, class_positions, counts_before, make_catalog
from selfsup.data.shards.names import index_file, is_url
from selfsup.data.shards.opened import MAX_BYTES, OPEN_SHARDS, OpenTar, Recent
from selfsup.data.shards.remote import RemoteShards
from selfsup.data.sources.path_table import PathTable
from selfsup.data.sources.source import printable
from selfsup.errors import DecodeError
from selfsup.registry import DATASETS


@DATASETS.register_module()
class WebShards:
    """Images in WebDataset shards: tars with ``KEY.jpg`` and, beside it, ``KEY.json``, ``KEY.txt`` or ``KEY.cls``.

    Where every image lies is found out once, by reading the headers of the tars, and kept in a folder beside them; an
    image is then one read at an offset. So the order is the sampler's, as for single files: exact resume from any step,
    each image once for any number of processes and workers, the same split. A run starts, and holds in memory, as many
    entries as there are shards, however many images.

    The order of the images is that of the shards' names, and within a shard that of the tar. Nothing is unpacked. Of a
    folder that img2dataset or ``selfsup shard`` writes, shards without their ``_stats.json`` or ``.parquet`` are not
    finished, and left out. A shard that disappears or is replaced during a run gives unreadable images.

    Shards behind a URL are fetched whole, with further tries where the network fails, into a folder that holds those
    used last. So they are to be read a few at a time: ``train_dataloader.shards_at_once``, of which twice as many must
    fit there. The next ones are fetched meanwhile.

    Args:
        root: a folder, searched with its subfolders for ``.tar``; one tar; or a name with ranges, as in
            ``'shards/{00000..00127}.tar'``. A URL that fsspec reads (``selfsup[remote]``) is that of a folder, a name
            with ranges, or the ``manifest.json`` that ``selfsup shard`` writes.
        labels: ``None`` for images without labels; ``'cls'`` reads the file beside an image with that ending; any other
            word is a key of the JSON beside it. An image without, or whose label is empty, ``-1`` or ``nan``, has none.
        classes: the class names in label order; default: those that ``selfsup shard`` has written beside the shards,
            or those found, by value if all are whole numbers. Labels may be names, or positions among these.
        min_side: see ``decode_image``.
        max_pixels: see ``decode_image``.
        bit_depth: see ``decode_image``.
        index: the folder of the index. Default: ``.selfsup-index`` beside the shards, or if nothing may be written
            there, the machine's folder for temporary files.
        leave_out_damaged: leave out shards that are cut short or no tars, instead of rejecting them all.
        schemes: of URLs that may be opened, as in ``('https', 's3')``; none without it.
        cache: of remote shards: ``dict(dir='/scratch/shards', max_gib=100)``, a folder for all processes of a machine.

    Attributes:
        catalog: what is known of the shards.
        remote: shards that are not files of this machine; None for files.
        shard_starts: the number of each shard's first image, and of all images at the end, int64, shape (S + 1,).

    Raises:
        DataError: if there are no shards or no images, one is damaged, no image has a label or one is unknown.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | None = None,
        *,
        classes: Sequence[str] | None = None,
        min_side: int | None = None,
        max_pixels: int = MAX_PIXELS,
        bit_depth: int | None = None,
        index: str | os.PathLike[str] | None = None,
        leave_out_damaged: bool = False,
        schemes: Sequence[str] = (),
        cache: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root if is_url(root) else Path(root).expanduser()
        self.remote: RemoteShards | None = None
        if isinstance(root, str) and is_url(root):
            self.remote = RemoteShards(root, schemes=schemes, cache=cache)
        self.min_side = min_side
        self.max_pixels = max_pixels
        self.bit_depth = bit_depth
        self._labels = labels
        self.catalog: Catalog = make_catalog(
            root,
            labels=labels,
            classes=classes,
            index=index,
            leave_out_damaged=leave_out_damaged,
            remote=self.remote,
        )
        self.shard_starts = counts_before(self.catalog)
        self._open_anew()

    def _open_anew(self) -> None:
        self._tables: Recent[int, _Table] = Recent(self._open_table, OPEN_SHARDS)
        self._tars: Recent[int, OpenTar] = Recent(self._open_tar, OPEN_SHARDS)

    @property
    def labels(self) -> "ShardLabels | None":
        """The labels, read where they are asked for; None without labels."""
        return None if self._labels is None else ShardLabels(self)

    @property
    def classes(self) -> list[str] | None:
        """The name of each label; None without labels."""
        return self.catalog.classes

    @property
    def digest(self) -> str:
        """What tells these images from others, in keys, order or labels; the same on every machine."""
        return self.catalog.digest

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    def name(self, index: int) -> str:
        """The shard and the key in it: ``00000/000000012``."""
        shard, row = self.place(index)
        return f"{printable(self.catalog.names[shard]).removesuffix('.tar')}/{printable(self._tables[shard].keys[row])}"

    def image(self, index: int) -> np.ndarray:
        """Decode the image.

        Returns:
            RGB image, uint8, shape (H, W, 3).

        Raises:
            DecodeError: if its shard is gone or not what it was, or the image cannot be decoded.
        """
        content, name = self.encoded(index), self.name(index)
        return decode_image(
            content, min_side=self.min_side, max_pixels=self.max_pixels, bit_depth=self.bit_depth, name=name
        )

    def encoded(self, index: int) -> bytes:
        """The image's file as it stands in the shard.

        Raises:
            DecodeError: if it cannot be read.
        """
        shard, row = self.place(index)
        table = self._tables[shard]
        size = int(table.sizes[row])
        if not 0 <= size <= MAX_BYTES:
            raise DecodeError(f"{self.name(index)}: {size:,} bytes, at most {MAX_BYTES:,} are read")
        try:
            if self.remote is not None:
                content = self.remote.read(self.catalog.names[shard], size, int(table.offsets[row]))
                size_of_shard = table.size_of_shard
            else:
                tar = self._tars[shard]
                content, size_of_shard = os.pread(tar.descriptor, size, int(table.offsets[row])), tar.size
        except OSError as error:
            raise DecodeError(f"{self.name(index)}: {error.strerror or error}") from None
        if len(content) < size or size_of_shard != table.size_of_shard:
            raise DecodeError(f"{self.name(index)}: {self.catalog.names[shard]} has changed since it was indexed")
        return content

    def place(self, index: int) -> tuple[int, int]:
        """Which shard an image lies in, and where among its images.

        Raises:
            IndexError: if there are fewer images.
        """
        index = range(len(self))[int(index)]
        shard = int(np.searchsorted(self.shard_starts, index, side="right")) - 1
        return shard, index - int(self.shard_starts[shard])

    def prefetch(self, shards: Sequence[int]) -> None:
        """Fetch remote shards that will be needed soon; does not wait for them."""
        if self.remote is not None:
            self.remote.prefetch([self.catalog.names[shard] for shard in shards])

    @property
    def most_shards_at_once(self) -> int | None:
        """Of how many shards twice as many fit into the cache; None for files."""
        return None if self.remote is None else self.remote.most_at_once

    def served(self) -> tuple[int, int] | None:
        """Reads of all processes of this machine, and how many waited for their shard; None for files."""
        return None if self.remote is None else self.remote.served()

    def labels_of_shard(self, shard: int) -> np.ndarray:
        """Positions in ``classes`` of a shard's images, -1 for none, int64."""
        labels = self._tables[shard].labels
        assert labels is not None
        return labels

    def _open_table(self, shard: int) -> "_Table":
        file = index_file(Path(self.catalog.index), self.catalog.names[shard], self._labels)
        return _Table(PathTable(file), self.catalog)

    def _open_tar(self, shard: int) -> OpenTar:
        return OpenTar(os.path.join(self.catalog.base, self.catalog.names[shard]))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_tables", "_tars")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open_anew()

    def __repr__(self) -> str:
        return f"WebShards({os.fspath(self.root)!r}: {len(self):,} images in {len(self.catalog.names):,} shards)"


class ShardLabels:
    """The labels of all images: by number, slice or array, read shard by shard."""

    def __init__(self, source: WebShards) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        """One label, or int64 in the shape of the index."""
        if not isinstance(index, slice | np.ndarray | list):
            shard, row = self._source.place(index)
            return int(self._source.labels_of_shard(shard)[row])
        wanted = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index, np.int64)
        starts, flat = self._source.shard_starts, wanted.ravel()
        shards = np.searchsorted(starts, flat, side="right") - 1
        order = np.argsort(shards, kind="stable")
        found = np.empty(flat.shape, np.int64)
        for part in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if flat.size else ():
            shard = int(shards[part[0]])
            found[part] = self._source.labels_of_shard(shard)[flat[part] - starts[shard]]
        return found.reshape(wanted.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class _Table:
    """The index of one shard, opened."""

    def __init__(self, keys: PathTable, catalog: Catalog) -> None:
        self.keys = keys
        offsets, sizes = keys.array("image_offsets"), keys.array("image_sizes")
        assert offsets is not None and sizes is not None
        self.offsets, self.sizes = offsets, sizes
        self.size_of_shard: int = keys.header["stamp"][0]
        numbers = keys.array("labels")
        self.labels = None if numbers is None else class_positions(keys.header["classes"], catalog)[numbers]
