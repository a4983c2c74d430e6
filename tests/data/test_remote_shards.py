"""Shards behind URLs: the same images as the files, within the cache's bounds, through a network that fails."""

import json
import logging
import os
import pickle
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import Mixture, ShardStream, StepSampler, Subset, WebShards
from selfsup.data.selection import AllBut
from selfsup.data.shards import remote
from selfsup.data.shards.write import write_shards
from selfsup.errors import ConfigError, DataError, DecodeError
from tests.data.test_web_shards import ImageList, encoded, write_tar

fsspec = pytest.importorskip("fsspec")
PER_SHARD = 4
SHARDS = 10


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images in ten shards."""
    root = tmp_path_factory.mktemp("images")
    for number in range(PER_SHARD * SHARDS):
        path = root / "images" / ("cat" if number < 15 else "dog") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number))
    write_shards(ImageList(root / "images", "folder"), root / "shards", images_per_shard=PER_SHARD)
    return root / "shards"


@pytest.fixture
def url(written: Path) -> Iterator[str]:
    """Those in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    memory.put(os.fspath(written) + "/", "/bucket/shards/", recursive=True)
    yield "memory://bucket/shards"
    memory.rm("/bucket", recursive=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WAITS", (0.01, 0.01))


def opened(url: str, folder: Path, shards: float = 4.5, **changes: Any) -> WebShards:
    """With a cache for so many shards."""
    size = max(told["size"] for told in fsspec.filesystem("memory").ls("/bucket/shards", detail=True))
    cache = {"dir": folder / "cache", "max_gib": shards * size / 2**30}
    return WebShards(url, **{"schemes": ("memory",), "cache": cache, **changes})


def tars(folder: Path) -> list[Path]:
    return list((folder / "cache").glob("*.tar"))


def test_images_labels_and_names_are_those_of_the_files(url: str, written: Path, tmp_path: Path) -> None:
    local, images = WebShards(written, "cls"), opened(url, tmp_path, labels="cls")
    assert (len(images), images.classes) == (len(local), local.classes)
    assert images.labels[:].tolist() == local.labels[:].tolist()
    for index in (39, 0, 17, 18, 39):
        assert images.name(index) == local.name(index)
        assert np.array_equal(images.image(index), local.image(index))
    ranged = opened(url + "/{00002..00004}.tar", tmp_path)
    assert [ranged.name(index) for index in range(12)] == [local.name(index) for index in range(8, 20)]


def test_the_writers_index_is_taken_and_nothing_is_fetched_for_it(url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path)
    assert not tars(tmp_path)
    fsspec.filesystem("memory").rm("/bucket/shards/.selfsup-index", recursive=True)
    read = opened(url, tmp_path / "other")
    assert len(read) == len(images) and len(tars(tmp_path / "other")) == 4
    assert read.digest == images.digest


def test_a_pass_fetches_each_shard_once_and_the_cache_stays_within_its_bounds(url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path, shards=4.5)
    assert images.most_shards_at_once == 2
    fetched, whole = list[str](), remote.RemoteShards._download

    def download(self: Any, name: str, partial: Path) -> None:
        fetched.append(name)
        whole(self, name, partial)
        there = sum(
            path.stat().st_size for path in (tmp_path / "cache").iterdir() if path.suffix in (".tar", ".partial")
        )
        assert there <= images.remote.max_bytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote.RemoteShards, "_download", download)
        order = [
            index
            for batch in StepSampler(40, 4, total_steps=10, shard_starts=images.shard_starts, shards_at_once=2)
            for _, index in batch
        ]
        assert sorted(images.name(index) for index in order if images.image(index).size) == sorted(
            images.name(index) for index in range(40)
        )
    assert sorted(fetched) == sorted(images.catalog.names)
    assert images.remote.served() == (40, 10)


@pytest.mark.parametrize("world_size, accumulate, start", [(1, 1, 3), (2, 1, 7), (4, 2, 1)])
def test_any_processes_read_the_order_of_one_and_ask_for_shards_before_they_need_them(
    world_size: int, accumulate: int, start: int
) -> None:
    starts = np.arange(0, 401, 10)
    alone = {"total_steps": 60, "seed": 3, "shard_starts": starts, "shards_at_once": 4, "most_shards_at_once": 4}
    expected = list(StepSampler(400, 16, **alone))
    parts = []
    for rank in range(world_size):
        told = set[int]()
        sampler = StepSampler(
            400,
            16 // world_size // accumulate,
            world_size=world_size,
            rank=rank,
            accumulate=accumulate,
            start_step=start,
            prefetch=told.update,
            **alone,
        )
        parts.append([])
        for batch in sampler:
            assert {index // 10 for _, index in batch} <= told
            parts[-1].append(batch)
    for step in range(start, 60):
        micro_batches = range((step - start) * accumulate, (step - start + 1) * accumulate)
        assert [pair for micro in micro_batches for part in parts for pair in part[micro]] == expected[step]
    for epoch in range(2):
        shown = [index for batch in expected for of, index in batch if of == epoch]
        assert sorted(shown) == list(range(400))


def test_shards_that_are_asked_for_come_by_themselves(url: str, tmp_path: Path) -> None:
    images = Subset(opened(url, tmp_path), AllBut(40, np.array([2])))
    assert images.most_shards_at_once == 2 and images.prefetch is not None
    images.prefetch([3, 7])
    deadline = time.monotonic() + 5
    while len(tars(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    images.image(12)
    assert images.served is not None and images.served() == (1, 0)
    assert Mixture({"a": images}).served() == (1, 0) and Mixture({"a": images}).most_shards_at_once == 2


class Flaky(fsspec.get_filesystem_class("memory")):
    """Ends every other file early, and is sometimes not there at all."""

    protocol = "flaky"
    calls = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("flaky://", "memory://"))

    def find(self, *arguments: Any, **options: Any) -> Any:
        Flaky.calls += 1
        if Flaky.calls % 2:
            raise TimeoutError("no answer")
        return super().find(*arguments, **options)

    def open(self, path: str, *arguments: Any, **options: Any) -> Any:
        Flaky.calls += 1
        if Flaky.calls % 3 == 0:
            raise RuntimeError("503 Slow Down")
        file = super().open(path, *arguments, **options)
        if Flaky.calls % 3 == 1 and path.endswith(".tar"):
            file.seek(file.size - 100)
        return file


def test_what_comes_in_part_or_not_at_all_is_fetched_again(
    url: str, written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    images = opened(url.replace("memory", "flaky"), tmp_path, schemes=("flaky",))
    with caplog.at_level(logging.WARNING):
        assert all(np.array_equal(images.image(i), WebShards(written).image(i)) for i in range(0, 40, 4))
    assert "trying again" in caplog.text


def test_a_shard_that_is_gone_gives_unreadable_images_and_no_waiting(url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path)
    fsspec.filesystem("memory").rm("/bucket/shards/00003.tar")
    for _ in range(2):
        with pytest.raises(DecodeError):
            images.image(13)
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_workers_share_what_was_fetched(url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path)
    images.image(5)
    sent = pickle.loads(pickle.dumps(images))
    assert np.array_equal(sent.image(5), images.image(5))
    sent.remote.served()
    assert images.remote.served() == (3, 1)


def test_a_shard_that_was_replaced_is_indexed_and_fetched_anew(url: str, tmp_path: Path) -> None:
    before = opened(url, tmp_path)
    first = before.image(0)
    other = write_tar(tmp_path / "t.tar", {"x.png": encoded(7)})
    fsspec.filesystem("memory").put(os.fspath(other), "/bucket/shards/00000.tar")
    after = opened(url, tmp_path)
    assert (len(after), after.name(0)) == (37, "00000/x") and after.digest != before.digest
    assert not np.array_equal(after.image(0), first)


@pytest.mark.parametrize(
    "root, schemes",
    [
        ("memory://bucket/shards", ()),
        ("memory://bucket/shards", ("https", "s3")),
        ("simplecache::memory://bucket/shards", ("memory", "simplecache")),
        ("file:///etc", ("memory",)),
    ],
)
def test_only_schemes_that_the_user_names_are_opened(
    root: str, schemes: tuple[str, ...], url: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        opened(root, tmp_path, schemes=schemes)
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("schemes", root)


@pytest.mark.parametrize("cache", [None, {"dir": "x"}, {"dir": "x", "max_gib": 0}, {"dir": "x", "max_gib": 1e-6}])
def test_a_cache_has_a_folder_and_a_bound(cache: Any, url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        opened(url, tmp_path, cache=cache)
    assert raised.value.problems[0].path == "cache"


@pytest.mark.parametrize("at_once", [None, 3])
def test_no_more_shards_are_mixed_than_the_cache_holds_twice(at_once: int | None, url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path)
    with pytest.raises(ConfigError) as raised:
        StepSampler(
            40,
            4,
            total_steps=1,
            shard_starts=images.shard_starts,
            shards_at_once=at_once,
            most_shards_at_once=images.most_shards_at_once,
        )
    assert raised.value.problems[0].path == "train_dataloader.shards_at_once"


@pytest.mark.parametrize("name", ["../../x.tar", "a/../../x.tar", "/etc/x.tar"])
def test_names_of_a_listing_never_lead_out_of_the_folder(name: str, url: str, tmp_path: Path) -> None:
    found = {f"/bucket/shards/{name}": {"size": 10_240, "type": "file"}}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError) as raised:
        patch.setattr(fsspec.get_filesystem_class("memory"), "find", lambda *a, **k: found)
        opened(url, tmp_path)
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("root", name)


def test_a_manifest_says_which_shards_there_are_and_its_names_never_lead_out(url: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    images = opened(f"{url}/manifest.json", tmp_path, labels="cls")
    assert (len(images), images.classes) == (40, ["cat", "dog"]) and not tars(tmp_path)  # its index is found, too
    for names, got in ((["00000.tar", "../x.tar"], "../x.tar"), (None, f"{url}/manifest.json")):
        memory.pipe_file(
            "/bucket/shards/manifest.json", json.dumps({"shards": names and [{"name": n} for n in names]}).encode()
        )
        with pytest.raises(DataError) as raised:
            opened(f"{url}/manifest.json", tmp_path)
        assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("root", got)


def test_an_index_from_elsewhere_that_leads_out_of_its_shard_is_not_taken(
    url: str, written: Path, tmp_path: Path
) -> None:
    memory, name = fsspec.filesystem("memory"), "/bucket/shards/.selfsup-index/00002.tar.none.index"
    content = memory.cat_file(name)
    place = int(re.search(rb'"image_offsets": \[(\d+)', content)[1])
    memory.pipe_file(name, content[:place] + (1 << 40).to_bytes(8, "little") + content[place + 8 :])
    images = opened(url, tmp_path)
    assert np.array_equal(images.image(8), WebShards(written).image(8))
    assert images.digest == opened(url, tmp_path / "again").digest


def test_no_more_is_written_than_the_server_announced(url: str, tmp_path: Path) -> None:
    images = opened(url, tmp_path)
    images.remote.sizes["00001.tar"] = 700
    written, whole = list[int](), remote.RemoteShards._download

    def download(self: Any, name: str, partial: Path) -> None:
        try:
            whole(self, name, partial)
        finally:
            written.append(partial.stat().st_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "_CHUNK", 512)
        patch.setattr(remote.RemoteShards, "_download", download)
        with pytest.raises(OSError):
            images.remote.fetch("00001.tar")
    assert written == [1024] and not tars(tmp_path)


def test_a_stream_may_come_from_a_bucket_too(url: str, written: Path, tmp_path: Path) -> None:
    memory, local = fsspec.filesystem("memory"), WebShards(written)
    for number in range(6, SHARDS):
        memory.rm(f"/bucket/shards/{number:05d}.tar")
    size = max(told["size"] for told in memory.ls("/bucket/shards", detail=True))
    options = {
        "num_images": 100,
        "log": tmp_path / "log.jsonl",
        "when_empty": "end",
        "schemes": ("memory",),
        "cache": {"dir": tmp_path / "cache", "max_gib": 4.5 * size / 2**30},
    }
    source = ShardStream(url, **options)
    names = [source.name(position) for position in range(24)]
    assert sorted(names) == [local.name(index) for index in range(24)]
    assert {len(generation.shards) for generation in source.generations} <= {0, 2}
    for position, name in enumerate(names):
        expected = local.image([local.name(index) for index in range(24)].index(name))
        assert np.array_equal(source.image(position), expected)
    with pytest.raises(DataError):
        source.place(24)
    memory.put(os.fspath(written / "00006.tar"), "/bucket/shards/00006.tar")
    options["cache"] = {**options["cache"], "dir": tmp_path / "another machine"}
    other = ShardStream(url, **options)
    assert [other.name(position) for position in range(24)] == names
    assert {source.name(position) for position in range(24, 28)} == {local.name(index) for index in range(24, 28)}
    assert np.array_equal(other.image(25), source.image(25)) and other.name(25) == source.name(25)
    memory.rm("/bucket/shards/00000.tar")
    gone = ShardStream(url, **options | {"cache": {**options["cache"], "dir": tmp_path / "third"}})
    for position, name in enumerate(names):
        if name.startswith("00000/"):
            with pytest.raises(DecodeError):
                gone.image(position)
            assert gone.name(position).startswith("00000/")
    with pytest.raises(ConfigError):
        ShardStream(url, **options | {"schemes": ()})


def test_a_web_server_is_read(written: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

    shutil.copytree(written, tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=os.fspath(tmp_path / "served")))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        root = f"http://127.0.0.1:{server.server_port}"
        cache = {"dir": tmp_path / "cache", "max_gib": 0.1}
        for name in ("", "/{00000..00009}.tar", "/manifest.json"):
            images = WebShards(root + name, schemes=("http",), cache=cache)
            assert np.array_equal(images.image(21), WebShards(written).image(21)) and len(images) == 40
    finally:
        server.shutdown()
        server.server_close()
