"""Images in WebDataset tars: what other writers and readers make of them, the order, damage, and what is kept."""

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.data import ImageList, Subset, WebShards, split
from selfsup.data.shards.write import check_shards, write_shards
from selfsup.errors import ConfigError, DataError, DecodeError
from selfsup.testing import check_source
from tests.data.pictures import picture

NUM_IMAGES = 11


def encoded(number: int, ending: str = "png") -> bytes:
    return cv2.imencode(f".{ending}", np.roll(picture(12, 16), number, axis=1))[1].tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 images in two folders."""
    root = tmp_path_factory.mktemp("images")
    for number in range(NUM_IMAGES):
        path = root / ("cat" if number < 5 else "dog") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(number))
    return root


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those as shards of four images."""
    out = tmp_path_factory.mktemp("shards") / "out"
    report = write_shards(ImageList(folder, "folder"), out, images_per_shard=4)
    assert (report.images, report.shards, report.kept, report.unreadable) == (NUM_IMAGES, 3, 0, 0)
    return out


@pytest.fixture
def shards(written: Path, tmp_path: Path) -> Path:
    """A copy to change; shards keep their times."""
    return shutil.copytree(written, tmp_path / "copy")


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_shards_are_the_folder_they_were_made_of(folder: Path, written: Path) -> None:
    images, shards = ImageList(folder, "folder"), WebShards(written, "cls")
    check_source(shards)
    assert len(shards) == len(images) and shards.classes == images.classes == ["cat", "dog"]
    assert all(np.array_equal(shards.image(index), images.image(index)) for index in range(NUM_IMAGES))
    np.testing.assert_array_equal(shards.labels[:], images.labels)
    np.testing.assert_array_equal(shards.labels[np.array([[9, 0], [4, 5]])], images.labels[[[9, 0], [4, 5]]])
    assert [shards.labels[index] for index in range(-3, 8)] == [int(images.labels[index]) for index in range(-3, 8)]
    assert shards.name(7) == "00001/000000007"
    assert shards.shard_starts.tolist() == [0, 4, 8, 11]


def test_labels_may_be_names_in_the_json_beside(written: Path) -> None:
    by_name, by_number = WebShards(written, "label"), WebShards(written, "cls")
    assert by_name.classes == ["cat", "dog"]
    np.testing.assert_array_equal(by_name.labels[:], by_number.labels[:])


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_the_webdataset_library_reads_what_we_write(folder: Path, written: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset([str(path) for path in sorted(written.glob("*.tar"))], shardshuffle=False))
    images = ImageList(folder, "folder")
    assert [sample["png"] for sample in samples] == [Path(images.file(i)).read_bytes() for i in range(NUM_IMAGES)]
    assert [int(sample["cls"]) for sample in samples] == images.labels.tolist()
    assert [json.loads(sample["json"])["path"] for sample in samples] == [images.name(i) for i in range(NUM_IMAGES)]


def test_we_read_what_the_webdataset_library_writes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "%03d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(7):
            sample = {"__key__": f"some/{number:04d}", "jpg": encoded(number, "jpg"), "cls": number % 2 + 3, "txt": "a"}
            writer.write(sample)
    shards = WebShards(tmp_path / "{000..002}.tar", "cls")
    assert (len(shards), shards.classes, shards.labels[:].tolist()) == (7, ["3", "4"], [0, 1, 0, 1, 0, 1, 0])
    assert [shards.encoded(number) for number in range(7)] == [encoded(number, "jpg") for number in range(7)]
    assert shards.name(6) == "002/some/0006"


def test_of_img2datasets_output_finished_shards_are_read_and_failures_counted(tmp_path: Path) -> None:
    parquet, table = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow").table
    for shard in range(3):
        files = {
            f"{shard:05d}{n:04d}.{ending}": content
            for n in range(2)
            for ending, content in (("jpg", encoded(n, "jpg")), ("json", b'{"caption": "x"}'), ("txt", b"x"))
        }
        write_tar(tmp_path / f"{shard:05d}.tar", files)
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 5, "successes": 2, "failed_to_download": 3}))
    status = ["success", "failed_to_download", "success"]
    parquet.write_table(table({"status": status}), tmp_path / "00001.parquet")
    shards = WebShards(tmp_path)
    assert (len(shards), shards.catalog.failed, shards.catalog.unfinished) == (4, 4, ["00002.tar"])
    assert shards.labels is None and shards.classes is None


def test_an_image_without_a_label_has_none_and_samples_without_an_image_are_passed_over(tmp_path: Path) -> None:
    files = {
        **{"a.json": b'{"kind": "x"}', "a.png": encoded(0)},
        **{"b.png": encoded(1)},
        **{"c.json": b'{"kind": null}', "c.png": encoded(2)},
        **{"d.json": b'{"kind": "y"}'},
        **{"e.PNG": encoded(3), "e.json": b'{"kind": "w"}'},
    }
    shards = WebShards(write_tar(tmp_path / "t.tar", files), "kind")
    assert (len(shards), shards.classes, shards.labels[:].tolist()) == (4, ["w", "x"], [1, -1, -1, 0])


@pytest.mark.parametrize("label, got", [(b"2", "2"), (b"bird", "bird")])
def test_a_label_that_is_no_class_is_rejected(label: bytes, got: str, tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "t.tar", {"a.cls": label, "a.png": encoded(0)})
    with pytest.raises(DataError) as raised:
        WebShards(shard, "cls", classes=["cat", "dog"])
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("classes", got)


def test_names_in_a_tar_never_lead_anywhere(tmp_path: Path) -> None:
    files = {"../../out.png": encoded(0), "/etc/passwd.png": encoded(1), "\x1b[31m.png": encoded(2)}
    shards = WebShards(write_tar(tmp_path / "in" / "t.tar", files))
    assert [shards.image(index).shape for index in range(3)] == [(12, 16, 3)] * 3
    everything = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {path.split("/")[0] for path in everything} == {"in"}
    assert all(path.split("/")[1] in ("t.tar", ".selfsup-index") for path in everything if "/" in path)


class Trap:
    """Leaves a file behind where its pickle is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("labels", [None, "cls", "kind"])
def test_nothing_in_a_tar_is_executed(labels: str | None, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    told = {"png": encoded(0), "cls": b"1", "json": b'{"kind": "x"}'}
    files = {f"a.{ending}": content for ending, content in told.items()}
    files |= {f"a.{ending}": trap for ending in ("pyd", "pkl", "pickle", "pth", "pt", "npy", "npz")}
    shards = WebShards(write_tar(tmp_path / "t.tar", files | {"b.png": trap}), labels)
    assert shards.image(0).shape == (12, 16, 3)
    with pytest.raises(DecodeError):
        shards.image(1)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)
    assert (tmp_path / "sprung").exists()  # it would have


def test_the_split_is_the_same_on_every_machine_and_nothing_is_trained_on_that_is_held_out(written: Path) -> None:
    parts = split(WebShards(written, "cls"), val=0.2, test=0.2)
    again = split(WebShards(written, "cls"), val=0.2, test=0.2)
    names = {part: [getattr(parts, part).name(i) for i in range(len(getattr(parts, part)))] for part in PARTS}
    assert sorted(chain.from_iterable(names.values())) == [WebShards(written).name(i) for i in range(NUM_IMAGES)]
    assert all(np.array_equal(parts.held_out[part], again.held_out[part]) for part in ("val", "test"))
    held_out = np.concatenate([parts.held_out["val"], parts.held_out["test"]])
    starts = [int((np.setdiff1d(np.arange(NUM_IMAGES), held_out) < first).sum()) for first in (0, 4, 8, 11)]
    assert parts.train.shard_starts.tolist() == starts
    assert Subset(WebShards(written), count=3).shard_starts is None


PARTS = ("train", "val", "test")


def test_workers_get_the_files_names_and_read_by_themselves(written: Path) -> None:
    shards = WebShards(written, "cls")
    before = shards.image(9)
    sent = pickle.loads(pickle.dumps(shards))
    assert np.array_equal(sent.image(9), before) and sent.labels[9] == shards.labels[9]


def test_a_shard_more_is_indexed_alone(shards: Path) -> None:
    before = WebShards(shards)
    index = shards / ".selfsup-index"
    kept = {path.name: path.stat().st_mtime_ns for path in index.glob("*.index")}
    write_tar(shards / "00003.tar", {"x.png": encoded(0)})
    (shards / "00003_stats.json").write_text('{"count": 1, "successes": 1}')
    after = WebShards(shards)
    assert (len(after), after.name(NUM_IMAGES)) == (NUM_IMAGES + 1, "00003/x")
    assert after.digest != before.digest
    assert {path.name: path.stat().st_mtime_ns for path in index.glob("*.index") if path.name in kept} == kept


def test_an_index_that_was_broken_off_is_made_whole(shards: Path) -> None:
    expected = WebShards(shards).digest
    for path in (shards / ".selfsup-index").glob("*"):
        path.write_bytes(path.read_bytes()[:20])
    assert WebShards(shards).digest == expected


def test_an_index_may_lie_elsewhere_and_says_the_same(shards: Path, tmp_path: Path) -> None:
    expected = WebShards(shards).digest
    shutil.rmtree(shards / ".selfsup-index")
    assert WebShards(shards, index=tmp_path / "index").digest == expected
    assert not (shards / ".selfsup-index").exists()


def test_an_index_that_may_only_be_read_is_taken_over(shards: Path, tmp_path: Path) -> None:
    expected = WebShards(shards)
    beside = shards / ".selfsup-index" / "00001.tar.none.index"
    source = WebShards(shards, index=tmp_path / "index")
    assert (tmp_path / "index" / beside.name).read_bytes() == beside.read_bytes()
    assert source.digest == expected.digest and np.array_equal(source.image(5), expected.image(5))


def test_a_shard_that_is_replaced_gone_or_shorter_gives_unreadable_images(shards: Path) -> None:
    images = WebShards(shards)
    write_tar(shards / "00000.tar", {"x.png": encoded(0)})
    (shards / "00001.tar").unlink()
    (shards / "00002.tar").write_bytes((shards / "00002.tar").read_bytes()[:600])
    for index in (0, 4, 10):
        with pytest.raises(DecodeError):
            images.image(index)
    with pytest.raises(IndexError):
        images.image(NUM_IMAGES)


def test_damaged_shards_are_rejected_or_left_out(shards: Path) -> None:
    (shards / "00001.tar").write_bytes((shards / "00001.tar").read_bytes()[:3000])
    with pytest.raises(DataError) as raised:
        WebShards(shards)
    assert raised.value.problems[0].path == "root"
    images = WebShards(shards, leave_out_damaged=True)
    assert (len(images), [*images.catalog.damaged]) == (NUM_IMAGES - 4, ["00001.tar"])


@pytest.mark.parametrize("made", ["nothing", "an empty folder", "no images"])
def test_where_there_are_no_images_that_is_said(made: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if made != "nothing":
        root.mkdir()
    if made == "no images":
        write_tar(root / "t.tar", {"a.txt": b"x"})
    with pytest.raises(DataError) as raised:
        WebShards(root)
    assert raised.value.problems[0].path == "root"


def test_a_manifest_tells_damaged_shards(shards: Path) -> None:
    assert check_shards(shards) == []
    content = bytearray((shards / "00001.tar").read_bytes())
    content[700] ^= 1
    (shards / "00001.tar").write_bytes(content)
    (shards / "00002.tar").unlink()
    assert check_shards(shards) == ["00001.tar", "00002.tar"]


class Deadly(ImageList):
    """Ends its process where one image is asked for."""

    def file(self, index: int) -> str:
        if index == 9:
            os._exit(9)
        return super().file(index)


def test_writing_that_was_killed_goes_on_and_gives_the_same_bytes(folder: Path, written: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if (child := os.fork()) == 0:
        write_shards(Deadly(folder, "folder"), out, images_per_shard=4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert sorted(path.name for path in out.glob("*.tar")) == ["00000.tar", "00001.tar"]
    assert write_shards(ImageList(folder, "folder"), out, images_per_shard=4).kept == 2
    for name in ("00000.tar", "00001.tar", "00002.tar", "manifest.json"):
        assert (out / name).read_bytes() == (written / name).read_bytes()


def test_shards_of_other_images_are_not_mixed_with_those_that_are_there(folder: Path, written: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        write_shards(ImageList(folder, "folder"), written, images_per_shard=5)
    assert raised.value.problems[0].path == "OUT"


def test_files_that_cannot_be_read_are_counted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(encoded(0))
    (tmp_path / "list.txt").write_text("0.png\ngone.png\n")
    report = write_shards(ImageList(tmp_path / "list.txt"), tmp_path / "out")
    assert (report.images, report.unreadable) == (1, 1)
    shards = WebShards(tmp_path / "out")
    assert (len(shards), shards.catalog.failed) == (1, 1)


@pytest.mark.parametrize(
    "files",
    [
        {"a.json": b" " * (2 << 20), "a.png": b"x"},
        {"a.json": b"[" * 100_000, "a.png": b"x"},
        {"a.json": b'{"kind"', "a.png": b"x"},
        {"a.png": b"x", "b.png": b"y", "a.PNG": b"z"},
    ],
    ids=["a huge label", "a deep one", "a broken one", "a key twice"],
)
def test_what_others_wrote_is_bounded(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        WebShards(write_tar(tmp_path / "t.tar", files), "kind")
    assert raised.value.problems[0].path == "root"


def test_an_image_of_absurd_size_is_not_read(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.data.sources.web_shards.MAX_BYTES", 10)
    with pytest.raises(DecodeError):
        WebShards(shards).image(0)


def test_a_kept_catalog_leads_to_no_shard_that_is_not_there(shards: Path, tmp_path: Path) -> None:
    for file in (shards / ".selfsup-index").glob("catalog-*"):
        file.unlink()
    expected = WebShards(shards).catalog.names
    write_tar(tmp_path / "outside.tar", {"secret.png": encoded(0)})
    (file,) = (shards / ".selfsup-index").glob("catalog-*.json")
    told = json.loads(file.read_text())
    told["catalog"]["names"][0] = "../outside.tar"
    file.write_text(json.dumps(told))
    assert WebShards(shards).catalog.names == expected


def test_more_shards_than_files_may_be_open_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.data.shards.catalog._MANY", 1000)  # no processes
    resource = pytest.importorskip("resource")
    first = write_tar(tmp_path / "shards" / "000.tar", {"a.png": encoded(0)})
    for number in range(1, 300):
        os.link(first, first.with_name(f"{number:03d}.tar"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 150, limits[1]))
    try:
        for _ in range(2):
            images = WebShards(tmp_path / "shards", index=tmp_path / "index")
            next((tmp_path / "index").glob("catalog-*.json")).unlink()
        assert {images.image(index).shape for index in range(300)} == {(12, 16, 3)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
