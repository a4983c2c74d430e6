"""Shards that lie behind a URL: whole ones are fetched when they are needed, and the last ones kept on this machine."""

import contextlib
import hashlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from selfsup.data.shards.names import URL, expanded
from selfsup.data.shards.shard_cache import ReadCounts, make_room, touched
from selfsup.data.shards.shard_index import take_over, write_shard_index
from selfsup.data.sources.path_table import PathTable
from selfsup.errors import ConfigError, DataError, require
from selfsup.ops.locks import held

_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated", "created")
"""What file systems call what changes with a file, the surest first."""
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before another try
_GIVEN_UP = 300.0  # seconds for which a shard that could not be fetched is not asked for again
_CHUNK = 1 << 20
_AT_ONCE = 4  # shards fetched side by side
_MOST_SMALL = 1 << 26  # bytes of a manifest, or of the index of a shard

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class RemoteShards:
    """The tars below a URL, and a folder of this machine that holds those used last.

    Args:
        url: a folder; a name with ranges, as ``https://host/shards/{00000..00127}.tar``; or the ``manifest.json`` that
            ``selfsup shard`` writes beside its shards. Read by fsspec.
        schemes: those that are allowed, such as ``('https', 's3')``.
        cache: ``dir``, a folder that all processes of a machine share, and ``max_gib``, the most that it may hold.
        may_be_empty: whether shards may come later.

    Raises:
        ConfigError: if the scheme is not allowed, fsspec is not installed, or the cache is not described.
        DataError: if there are no shards, or names that lead out of the folder.
    """

    def __init__(
        self,
        url: str,
        *,
        schemes: Sequence[str],
        cache: Mapping[str, Any] | None,
        may_be_empty: bool = False,
    ) -> None:
        found = URL.match(url)
        if found is None or "::" in url or found[1].lower() not in schemes:
            raise ConfigError.at(
                "schemes", "URLs of this kind are not allowed", got=url, expected="name the scheme, as in ('https',)"
            )
        if cache is None or set(cache) != {"dir", "max_gib"} or not cache["max_gib"] > 0:
            raise ConfigError.at(
                "cache",
                "remote shards are kept in a folder",
                got=cache,
                expected="dict(dir='/scratch/shards', max_gib=100)",
            )
        self.url = url
        self.folder = Path(cache["dir"]).expanduser()
        self.max_bytes = int(cache["max_gib"] * 2**30)
        self.began = time.time()
        self._forget()
        self.sizes: dict[str, int] = {}
        self.stamps: dict[str, list[int]] = {}
        folder, _, last = self._fs[1].rpartition("/")
        self._named: list[str] | None = None  # shards that are known without a listing
        self._prefix = folder
        if "{" in last:
            self._named = list(expanded(last))
        elif last.endswith(".json"):
            self._named = self._of_manifest(last)
        else:
            self._prefix = self._fs[1].rstrip("/")
        self.refresh()
        if not self.stamps and not may_be_empty:
            raise DataError.at("root", f"no shards (.tar) below {url}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._counts.drop_old()

    def _forget(self) -> None:
        """What each process has for itself."""
        self._opened: Any = None
        self._wanted: queue.SimpleQueue[str] | None = None
        self._failed: dict[str, tuple[float, str]] = {}
        self._counts = ReadCounts(self.folder, self.began)

    @property
    def _fs(self) -> tuple[Any, str]:
        if self._opened is None:
            try:
                from fsspec.core import url_to_fs
            except ImportError:
                raise ConfigError.at("root", "URLs need fsspec", expected="pip install 'selfsup[remote]'") from None
            try:
                self._opened = url_to_fs(self.url)
            except (ImportError, ValueError) as error:
                raise ConfigError.at("root", str(error), got=self.url) from None
        return self._opened

    def refresh(self) -> list[str]:
        """Look which shards there are now; what was known of others stays.

        Raises:
            ConfigError: if two of them do not fit into the cache.
            DataError: if a name leads out of the folder, or one of a range is not there.
        """
        self._fs[0].invalidate_cache()
        try:
            listed = _tried(self.url, self._listed)
        except OSError as error:
            raise DataError.at("root", f"{self.url} cannot be listed: {error}") from None
        self.sizes |= {name: size for name, (size, _) in listed.items()}
        self.stamps |= {name: [size, version] for name, (size, version) in listed.items() if name.endswith(".tar")}
        largest = max((size for size, _ in self.stamps.values()), default=1)
        require(self.most_at_once >= 1, "cache", f"too small for two shards of {largest:,} bytes", got=self.max_bytes)
        return [name for name in listed if name.endswith(".tar")]

    @property
    def most_at_once(self) -> int:
        """Of how many shards twice as many fit into the cache."""
        return self.max_bytes // (2 * max((size for size, _ in self.stamps.values()), default=1))

    def _listed(self) -> dict[str, tuple[int, int]]:
        """Size and version of each file below the URL, by name, in the order of the names' bytes."""
        fs = self._fs[0]
        found: dict[str, Any] = {}
        if self._named is None:
            for path, told in fs.find(self._prefix, detail=True).items():
                if path.startswith(self._prefix + "/"):  # a page may link to anything
                    found[path[len(self._prefix) + 1 :]] = told
        else:
            found = dict.fromkeys(self._named)
        for name in found:
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
                raise DataError.at("root", "a name that leads out of the folder", got=name)
        unknown = [name for name, told in found.items() if told is None or told.get("size") is None]
        with ThreadPoolExecutor(16) as pool:
            try:
                found.update(
                    zip(unknown, pool.map(lambda name: fs.info(f"{self._prefix}/{name}"), unknown), strict=True)
                )
            except FileNotFoundError as error:
                raise DataError.at("root", "no such shard", got=str(error)) from None
        if sizeless := [name for name in found if found[name].get("size") is None and name.endswith(".tar")]:
            raise DataError.at("root", "the server does not say how large shards are", got=sizeless[0])
        order = sorted(found, key=os.fsencode) if self._named is None else found
        return {name: (found[name].get("size") or 0, _version(found[name])) for name in order}

    def has_record(self, shard: str) -> bool:
        """Whether its writer says that a shard is finished."""
        stem = shard.removesuffix(".tar")
        return any(f"{stem}{ending}" in self.sizes for ending in ("_stats.json", ".parquet"))

    def small_file(self, name: str) -> bytes:
        """What lies beside the shards; empty if there is none, or more than 64 MiB."""
        path, size = f"{self._prefix}/{name}", self.sizes.get(name, 0)
        if self._named is not None:  # what lies beside them is in no listing
            with contextlib.suppress(OSError):
                size = _tried(name, lambda: self._fs[0].info(path)).get("size") or 0
        return _tried(name, lambda: self._fs[0].cat_file(path)) if 0 < size <= _MOST_SMALL else b""

    def _of_manifest(self, name: str) -> list[str]:
        self._named = []
        try:
            return [str(each["name"]) for each in json.loads(self.small_file(name))["shards"]]
        except (OSError, ValueError, KeyError, TypeError):
            expected = "`selfsup shard` writes one beside its shards"
            raise DataError.at("root", "no manifest of shards", got=self.url, expected=expected) from None

    def read(self, name: str, size: int, offset: int) -> bytes:
        """A piece of a shard, which is fetched if it is not here.

        Raises:
            OSError: if it cannot be fetched.
        """
        self._counts.read()
        while True:
            path = self._place(name)
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                self._counts.waited()
                self.fetch(name)
                continue  # it may be gone again: the cache is small
            try:
                os.utime(descriptor)  # used last
                return os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)

    def fetch(self, name: str) -> Path:
        """The file of a shard on this machine; it may be removed to make room once others were used after it.

        Raises:
            OSError: if it cannot be fetched after several tries, or could not a short time ago.
        """
        path = self._place(name)
        if touched(path):
            return path
        when, wrong = self._failed.get(name, (0.0, ""))
        if time.monotonic() - when < _GIVEN_UP and wrong:
            raise OSError(wrong)
        with held(path.with_suffix(".lock"), patience=3600):
            if touched(path):  # another process was quicker
                return path
            partial = path.with_suffix(".partial")
            try:
                make_room(self.folder, partial, self.sizes[name], self.max_bytes)
                self._download(name, partial)
                os.replace(partial, path)
            except OSError as error:
                self._failed[name] = time.monotonic(), f"{name}: {error}"
                raise
            finally:
                partial.unlink(missing_ok=True)
        return path

    def prefetch(self, shards: Sequence[str]) -> None:
        """Fetch shards that will be needed, in threads; what goes wrong is found out by who needs them."""
        if self._wanted is None:
            self._wanted = queue.SimpleQueue()
            for _ in range(_AT_ONCE):
                threading.Thread(target=self._fetch_wanted, args=(self._wanted,), daemon=True).start()
        for name in shards:
            if not touched(self._place(name)):
                self._wanted.put(name)

    def served(self) -> tuple[int, int]:
        """Reads of all processes of this machine since this began, and how many had to wait for their shard."""
        return self._counts.of_all()

    def index(self, name: str, file: Path, labels: str | None, index_name: str) -> str | None:
        """Make the index of a shard: of the one that lies beside it, or else by reading it; what is wrong, or None."""
        if content := self.small_file(index_name):
            beside = file.with_suffix(f".{os.getpid()}.beside")
            try:
                beside.parent.mkdir(parents=True, exist_ok=True)
                beside.write_bytes(content)
                take_over(PathTable(beside), file, self.stamps[name], labels)
                return None
            except (OSError, ValueError, KeyError, TypeError, IndexError):
                pass  # damaged, or of another shard: the shard itself tells
            finally:
                beside.unlink(missing_ok=True)
        try:
            write_shard_index(self.fetch(name), file, labels, stamp=self.stamps[name])
        except ValueError as error:
            return str(error)
        return None

    def _place(self, name: str) -> Path:
        """Named by what it is, so that no name from elsewhere is a path here."""
        if name not in self.stamps:
            self.refresh()
            if name not in self.stamps:
                raise FileNotFoundError(f"{name}: no such shard")
        key = f"{self.url}\n{name}\n{self.stamps[name]}"
        return self.folder / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.tar"

    def _download(self, name: str, partial: Path) -> None:
        size, began = self.sizes[name], time.monotonic()

        def copy() -> None:
            with self._fs[0].open(f"{self._prefix}/{name}", "rb") as remote, partial.open("r+b") as file:
                got = 0
                while got <= size and (chunk := remote.read(_CHUNK)):
                    got += file.write(chunk)
            if got != size:
                raise OSError(f"{got:,} of {size:,} bytes came")

        _tried(name, copy)
        logger.info("fetched %s: %.1f MB in %.1f s", name, size / 1e6, time.monotonic() - began)

    def _fetch_wanted(self, wanted: "queue.SimpleQueue[str]") -> None:
        while True:
            name = wanted.get()
            with contextlib.suppress(OSError, TimeoutError):
                self.fetch(name)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_opened", "_wanted", "_failed", "_counts")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


def _tried(what: str, action: Callable[[], Result]) -> Result:
    """The result of something that a network may spoil, tried again after ever longer waits.

    Raises:
        OSError: if no try succeeds; at once if there is no such file, or it may not be read.
        DataError: as the action does.
    """
    for wait in (*_WAITS, None):
        try:
            return action()
        except (FileNotFoundError, PermissionError, DataError):
            raise
        except Exception as error:  # each file system has errors of its own
            if wait is None:
                raise OSError(f"failed {len(_WAITS) + 1} times: {error}") from error
            logger.warning("%s: %s; trying again in %.1f s", what, error, wait)
            time.sleep(wait)
    raise AssertionError


def _version(told: Mapping[str, Any]) -> int:
    """What changes when a file is replaced; 0 where the file system says nothing of the kind."""
    value = next((told[key] for key in _VERSIONS if told.get(key)), None)
    return 0 if value is None else int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=6).digest())
