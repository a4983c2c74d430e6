"""Features in files: written in parts by any number of processes, taken up after a kill, read as memory maps."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from selfsup.errors import RecordError
from selfsup.ops.dist import rank
from selfsup.ops.files import settle, unrecorded, write_record
from selfsup.ops.locks import held

EXTRACTION = 1
"""Rises whenever features would come out otherwise, so that older files are not found."""

ABOUT, WHOLE, PART, INDEX, LABELS, NAMES = (
    "about.json",
    "features.f32",
    "features.partial",
    "index.npy",
    "labels.npy",
    "names.txt",
)

SETTLED_EVERY = 4096  # images; what a power failure may cost


class FeatureFile:
    """The features of one source at one layer, in a folder of their own.

    While they are computed there are ``features.partial``, a row for each image, and for each process ``done.N``, the
    images whose rows are written. Afterwards there are ``features.f32`` (float32, one row after the other),
    ``index.npy`` (positions in the source), ``labels.npy``, ``names.txt`` and, last, ``about.json``.

    Args:
        cache: the folder of all such folders; on a file system that all processes see.
        about: what determines the features; also kept in ``about.json``.
        count: images of the source.
    """

    def __init__(self, cache: Path, about: dict[str, Any], *, count: int) -> None:
        self.about = {**about, "extraction": EXTRACTION}
        text = json.dumps(self.about, sort_keys=True)
        self.folder = Path(cache).expanduser() / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.count = count
        self._features: int | None = None
        self._done: BinaryIO | None = None
        self._unsettled = 0

    @property
    def complete(self) -> bool:
        """Whether all features are there."""
        return self._known is not None

    def remaining(self) -> np.ndarray:
        """Images, ascending, that no process has computed yet."""
        done, bad = self._journal()
        return np.setdiff1d(np.arange(self.count), np.concatenate([done, bad]))

    def write(self, good: Sequence[int], features: Tensor, bad: Sequence[int]) -> None:
        """Keep the features of some images: after a kill they need not be computed again.

        Args:
            good: ascending positions of the images in the source.
            features: float32, (len(good), D).
            bad: positions of images that cannot be decoded.

        Raises:
            RecordError: if the disk does not take them.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if len(good):
                rows = features.detach().cpu().float().contiguous().numpy()
                self._write_rows(np.asarray(good), rows)
            self._unsettled += len(good)
            if self._features is not None and self._unsettled >= SETTLED_EVERY:
                os.fsync(self._features)  # before the journal says that they are there
                self._unsettled = 0
            if self._done is None:
                self._done = (self.folder / f"done.{rank()}").open("ab")
                self._done.truncate(self._done.tell() // 8 * 8)  # a line cut off by a kill
            self._done.write(np.concatenate([np.asarray(good, "<i8"), ~np.asarray(bad, "<i8")]).tobytes())
            self._done.flush()
        except OSError as error:
            raise unrecorded(self.folder, error) from error

    def close(self) -> None:
        """Flush this process's part to the disk."""
        if self._features is not None:
            os.fsync(self._features)
            os.close(self._features)
        if self._done is not None:
            self._done.close()
        self._features = self._done = None

    def finish(self, source: Any) -> int:
        """Make the parts one whole, in the main process once all have closed theirs.

        Args:
            source: whose names and labels are kept too.

        Returns:
            How many images could be decoded; with none of them nothing is kept.
        """
        with held(self.folder.with_name(self.folder.name + ".lock")):
            if (known := self._known) is not None:
                return known["images"]
            good, _ = self._journal()
            if not len(good):
                return 0
            part, whole = self.folder / PART, self.folder / WHOLE
            try:
                if part.exists() and len(good) < self.count:
                    self._leave_out_bad(part, good)
                elif part.exists():
                    settle(part, whole)
                np.save(self.folder / INDEX, good)
                labels = getattr(source, "labels", None)
                if labels is not None and not hasattr(labels, "row"):
                    np.save(self.folder / LABELS, np.asarray(labels, np.int64)[good])
                names = "\n".join(source.name(int(index)).replace("\n", " ") for index in good)
                (self.folder / NAMES).write_text(names + "\n", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise unrecorded(self.folder, error) from error
            dim = whole.stat().st_size // (4 * len(good))
            about = {**self.about, "images": len(good), "dim": dim}
            write_record(self.folder / ABOUT, json.dumps(about, indent=2) + "\n")
            for file in (part, *self.folder.glob("done.*")):
                file.unlink(missing_ok=True)
            return len(good)

    def read(self) -> tuple[Tensor, Tensor]:
        """Features, float32 (N, D), as a memory map, and positions of the images in the source.

        Raises:
            RecordError: if this process does not see them.
        """
        known = self._known
        if known is None:
            raise RecordError.at(
                str(self.folder), f"process {rank()} sees no features there", expected="all must see the same folder"
            )
        shape = known["images"], known["dim"]
        rows = np.memmap(self.folder / WHOLE, np.float32, mode="c", shape=shape)  # copy-on-write: torch wants writable
        return torch.from_numpy(rows), torch.from_numpy(np.load(self.folder / INDEX))

    @property
    def _known(self) -> dict[str, Any] | None:
        try:
            known = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            size = (self.folder / WHOLE).stat().st_size
        except (OSError, ValueError):
            return None
        return known if size == known["images"] * known["dim"] * 4 else None

    def _journal(self) -> tuple[np.ndarray, np.ndarray]:
        """Images that are written, and those that cannot be decoded, ascending."""
        entries = [np.zeros(0, np.int64)]
        for file in self.folder.glob("done.*"):
            entries.append(np.frombuffer(file.read_bytes()[: file.stat().st_size // 8 * 8], "<i8"))
        every = np.unique(np.concatenate(entries))
        return every[every >= 0], np.sort(~every[every < 0])

    def _write_rows(self, good: np.ndarray, rows: np.ndarray) -> None:
        width = rows.shape[1] * 4
        if self._features is None:
            self._features = os.open(self.folder / PART, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._features, self.count * width)
        starts = np.flatnonzero(np.diff(good, prepend=good[0] - 2) != 1)
        for start, stop in zip(starts, [*starts[1:], len(good)], strict=True):
            rest, place = memoryview(rows[start:stop].tobytes()), int(good[start]) * width
            while rest:  # a full disk is an error here; written through a memory map it would be a signal
                written = os.pwrite(self._features, rest, place)
                rest, place = rest[written:], place + written

    def _leave_out_bad(self, part: Path, good: np.ndarray) -> None:
        rows = np.memmap(part, np.float32, mode="r").reshape(self.count, -1)
        fewer = part.with_name(WHOLE + ".fewer")
        with fewer.open("wb") as file:
            for block in np.array_split(good, -(-len(good) // 4096)):
                file.write(rows[block].tobytes())
        settle(fewer, self.folder / WHOLE)
