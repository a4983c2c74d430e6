"""Shards and their tables stay open for a while: an image is one read, not an opening and a read."""

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

MAX_BYTES = 1 << 28  # of an encoded image
OPEN_SHARDS = 64  # the usual limit of open files is 1,024, of which others need some


class OpenTar:
    """A shard that is open for reading, until nobody uses it."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.size = os.fstat(self.descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


Shard = TypeVar("Shard", int, str)
Opened = TypeVar("Opened")


class Recent(Generic[Shard, Opened]):
    """What was opened last stays open."""

    def __init__(self, opened: Callable[[Shard], Opened], most: int) -> None:
        self._opened: Callable[[Shard], Opened] = opened
        self._most = most
        self._kept: OrderedDict[Shard, Opened] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, shard: Shard) -> Opened:
        with self._lock:
            if shard in self._kept:
                self._kept.move_to_end(shard)
            else:
                self._kept[shard] = self._opened(shard)
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            return self._kept[shard]
