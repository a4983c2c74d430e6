"""The sequence of a stream of shards, laid down in a file piece by piece: image n is a function of n and the file.

Where an image is gone when its turn comes, no other one may be shown twice for it. So a few images of each generation
are spared: they have no place of their own, and the log says which of them takes the place of which image. Those that
are left when the next generation begins are images of that.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.sampler import FeistelPermutation
from selfsup.errors import DataError
from selfsup.ops.files import WholeAppends

_SPARED = 8  # one in so many images: of 64 shards as many as 8 have, which may be taken away at once


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


class StreamLog:
    """The generations of a stream, and which images stand in for others, as far as the file was read.

    Args:
        file: a JSON line for each; it need not be there. Who adds to it holds the lock of the stream.
        seed: of the order.

    Attributes:
        generations: in their order.
    """

    def __init__(self, file: Path, seed: int) -> None:
        self.file = file
        self.seed = seed
        self.generations: list[Generation] = []
        self._stand_ins: dict[int, tuple[str, int]] = {}
        self._spares_used = 0  # of the last generation
        self._read_to = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return StreamLog, (self.file, self.seed)  # who gets it reads it

    @property
    def end(self) -> int:
        """The number of images that have a place."""
        return self.generations[-1].end if self.generations else 0

    @property
    def spares_left(self) -> int:
        """Images of the last generation that stand in for none."""
        return self.generations[-1].num_spare - self._spares_used if self.generations else 0

    def place(self, index: int) -> tuple[str, int]:
        """The shard and the row of an image before ``end``, or of the one that stands in for it."""
        if (stand_in := self._stand_ins.get(index)) is not None:
            return stand_in
        firsts = [generation.first for generation in self.generations]
        return self.generations[int(np.searchsorted(firsts, index, side="right")) - 1].place(index)

    def add_generation(self, shards: Sequence[tuple[str, int]]) -> None:
        """Append shards, each with its number of images; those that were spared before are part of the generation."""
        total = self.spares_left + sum(count for _, count in shards)
        line = {
            "number": len(self.generations),
            "seed": self.seed,
            "shards": shards,
            "used": self._spares_used,
            "spare": min(-(-total // _SPARED), total - 1),
        }
        self._append(line)

    def add_stand_in(self, index: int) -> None:
        """Give the place of an image to the next one that is spared."""
        self._append({"position": index, "spare": self._spares_used})

    def _append(self, line: dict[str, Any]) -> None:
        _drop_unfinished_line(self.file)
        appends = WholeAppends(self.file)
        try:
            appends.write(json.dumps(line).encode() + b"\n")
        finally:
            appends.close()
        self.read()

    def read(self) -> None:
        """Take over what was appended since the last time.

        Raises:
            DataError: if it cannot be right, or is of another stream.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.file.open("rb") as file:
                file.seek(self._read_to)
                content = file.read()
        except FileNotFoundError:
            return
        for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            try:
                told: dict[str, Any] = json.loads(line)
                if "position" in told:
                    self._take_stand_in(int(told["position"]), int(told["spare"]))
                else:
                    self._take_generation(told)
            except DataError:
                raise
            except (ValueError, KeyError, TypeError, IndexError):
                raise DataError.at("log", f"{self.file} is damaged in generation {len(self.generations)}") from None
            self._read_to += len(line)

    def _take_generation(self, told: dict[str, Any]) -> None:
        """What a line says; one of before there were spared images says nothing of them."""
        shards = [(str(name), int(count)) for name, count in told["shards"]]
        if any(os.path.isabs(name) or ".." in Path(name).parts for name, _ in shards):
            raise ValueError("a name that leads out of the folder")
        before = self.generations[-1] if self.generations else None
        used, spare, there = int(told.get("used", 0)), int(told.get("spare", 0)), before.num_spare if before else 0
        starts = np.cumsum([0, *(count for _, count in shards)])
        order = FeistelPermutation(int(starts[-1]) + there - used, (int(told["seed"]), int(told["number"])))
        if not (0 <= used <= there and 0 <= spare < order.length):
            raise ValueError("more images than there are")
        if (told["number"], told["seed"]) != (len(self.generations), self.seed):
            raise DataError.at("log", f"{self.file} is of another stream", got=(told["number"], told["seed"]))
        generation = Generation(
            number=len(self.generations),
            first=self.end,
            shards=tuple(name for name, _ in shards),
            starts=starts,
            order=order,
            num_spare=spare,
            before=before,
            used=used,
        )
        self.generations.append(generation)
        self._spares_used = 0

    def _take_stand_in(self, position: int, spare: int) -> None:
        last = self.generations[-1]
        if not 0 <= spare < last.num_spare or not 0 <= position < last.end:
            raise ValueError("no such image")
        self._stand_ins[position] = last.place(last.end + spare)
        self._spares_used = spare + 1


def _drop_unfinished_line(log: Path) -> None:
    """What a process that was killed while it wrote has left."""
    if log.exists() and (content := log.read_bytes()) and not content.endswith(b"\n"):
        with log.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
