"""The report on images: each kind of finding in a folder that has been given one of each, and the search of pairs."""

import csv
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfsup.cli.main import main
from selfsup.data import ImageList, Pooled, Subset, WebShards
from selfsup.data.duplicates import Signatures, find_copies, near_equal, thumbnail_of
from selfsup.data.image_scan import ROW, scan_images
from selfsup.data.near_duplicates import joined, near_pairs
from selfsup.data.report import ASPECTS, SIDES, DataReport, report_on
from selfsup.data.shards.write import write_shards
from selfsup.data.sources.pictures import photograph, photograph_names
from tests.data.pictures import picture

NUM_IMAGES = 12


def tile(number: int) -> np.ndarray:
    """Pieces of photographs without a common pixel."""
    y, x = divmod(number // 3, 4)
    return np.ascontiguousarray(picture(300, 480, number % 3)[100 * y : 100 * y + 100, 120 * x : 120 * x + 110])


def jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def again(image: np.ndarray, scale: float) -> bytes:
    return jpeg(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve different images, copies of some, and what cannot be read."""
    root = tmp_path_factory.mktemp("images")
    files = {f"{number:02d}.jpg": jpeg(tile(number)) for number in range(NUM_IMAGES)}
    files |= {"copy of 03.jpg": files["03.jpg"], "small 05.jpg": again(tile(5), 0.6), "z 05.jpg": files["05.jpg"]}
    files |= {"cut.jpg": files["01.jpg"][:900], "empty.png": b"", "tiny.jpg": jpeg(tile(20)[:20])}
    files |= {
        "white 1.jpg": jpeg(np.full((40, 50, 3), 255, np.uint8)),
        "white 2.jpg": again(np.full((90, 90, 3), 255, np.uint8), 1),
    }
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def tests_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("against")
    files = {"a.jpg": jpeg(tile(7)), "b.jpg": again(tile(9), 0.9), "c.jpg": jpeg(tile(21)), "d.jpg": jpeg(tile(21))}
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def report(folder: Path, tests_images: Path, tmp_path_factory: pytest.TempPathFactory) -> DataReport:
    return report_on(ImageList(folder), tmp_path_factory.mktemp("seen"), against=ImageList(tests_images))


def named(report: DataReport) -> dict[str, set[tuple[str, str]]]:
    """Pairs of an image and what it repeats, by kind."""
    found: dict[str, set[tuple[str, str]]] = {}
    for row in report.findings():
        found.setdefault(row.kind, set()).add((Path(row.image).name, Path(row.other).name if row.other else ""))
    return found


def test_each_kind_is_found_and_nothing_else(report: DataReport) -> None:
    assert named(report) == {
        "unreadable": {("cut.jpg", ""), ("empty.png", "")},
        "tiny": {("tiny.jpg", "")},
        "exact": {("copy of 03.jpg", "03.jpg"), ("z 05.jpg", "05.jpg")},
        "near": {("small 05.jpg", "05.jpg")},
        "leak_exact": {("a.jpg", "07.jpg")},
        "leak_near": {("b.jpg", "09.jpg")},
    }
    reasons = {Path(row.image).name: row.detail for row in report.findings() if row.kind == "unreadable"}
    assert all(reasons.values())


def test_copies_of_large_photographs_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(len(photograph_names())):
        image = photograph(number)[0]
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(image))
        (tmp_path / f"{number} again.jpg").write_bytes(again(image, rng.uniform(0.5, 1.5)))
    found = report_on(ImageList(tmp_path), tmp_path / "seen").findings()
    near = {frozenset((Path(row.image).stem, Path(row.other).stem)) for row in found if row.kind == "near"}
    assert near == {frozenset((str(number), f"{number} again")) for number in range(len(photograph_names()))}


def test_the_histograms_count_every_readable_image_once(report: DataReport) -> None:
    assert report.shorter_sides().sum() == report.aspects().sum() == len(report.scan) - 2
    sides = {low: count for low, count in zip(SIDES, report.shorter_sides().tolist(), strict=True) if count}
    assert sides == {0: 1, 32: 2, 64: NUM_IMAGES + 3}
    assert report.aspects()[ASPECTS.index(0.98)] == 1  # the white square


def test_shards_are_reported_as_the_folder_they_were_made_of(folder: Path, report: DataReport, tmp_path: Path) -> None:
    write_shards(ImageList(folder), tmp_path / "shards", images_per_shard=6)
    of_shards = report_on(WebShards(tmp_path / "shards"), tmp_path / "seen")
    for kind in ("unreadable", "tiny", "exact", "near"):
        assert of_shards.of_kind[kind].tolist() == report.of_kind[kind].tolist()


class Decoded:
    """Images without files."""

    def __init__(self, images: ImageList) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return self.images.image(index)

    def name(self, index: int) -> str:
        return self.images.name(index)


@pytest.mark.parametrize("kind", [Decoded, Subset, Pooled])
def test_other_sources_are_told_by_their_files_or_else_by_their_pixels(kind: Any, folder: Path, tmp_path: Path) -> None:
    images = ImageList(folder)
    source = {Decoded: Decoded(images), Subset: Subset(images, fraction=1), Pooled: Pooled([images])}[kind]
    found = named(report_on(source, tmp_path))
    assert {frozenset(pair) for pair in found["exact"]} >= {
        frozenset(("03.jpg", "copy of 03.jpg")),
        frozenset(("05.jpg", "z 05.jpg")),
    }
    if kind is not Decoded:
        against = report_on(images, tmp_path, against=source)
        assert len(against.of_kind["leak_exact"]) == len(images) - 2


def test_a_second_scan_reads_what_has_changed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(tile(number)))
    source, read = ImageList(tmp_path), list[str]()
    scan_images(source, tmp_path / "seen")
    decode = ImageList.file
    monkeypatch.setattr(
        "selfsup.data.image_scan.decode_image", lambda *a, name, **k: read.append(Path(name).name) or tile(5)
    )
    (tmp_path / "2.jpg").write_bytes(jpeg(tile(8), 90))
    scan = scan_images(source, tmp_path / "seen")
    assert read == ["2.jpg"] and ImageList.file is decode
    assert scan.digests[2] not in scan.digests[[0, 1, 3]] and scan.states.tolist() == [1] * 4


@pytest.mark.slow
def test_processes_see_what_one_sees(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = scan_images(ImageList(folder), tmp_path / "one")
    monkeypatch.setattr("selfsup.data.image_scan._FEW", 0)
    monkeypatch.setattr("selfsup.data.image_scan._JOB", 5)
    together = scan_images(ImageList(folder), tmp_path / "two", workers=2)
    assert alone.file.read_bytes() == together.file.read_bytes()


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures, as thumbnails."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 50, (count, 4, 4, 3)).clip(0, 255).astype(np.uint8)
    return np.stack([thumbnail_of(cv2.resize(each, (64, 64), interpolation=cv2.INTER_CUBIC)) for each in coarse])


def test_pairs_are_those_that_comparing_all_with_all_finds() -> None:
    images = pictures(700, seed=0)
    rng = np.random.default_rng(1)
    noisy = (images[:100].astype(float) + rng.normal(0, 1.2, (100, 768))).round().clip(0, 255).astype(np.uint8)
    both = np.concatenate([images, noisy])
    sides = np.full(len(both), 300)
    one, other = near_pairs(lambda chosen: both[chosen], np.arange(len(both)), sides)
    found = set(zip(one.tolist(), other.tolist(), strict=True))
    expected = {
        (row, column)
        for row in range(len(both))
        for column in (
            row + 1 + np.flatnonzero(near_equal(both[row][None], both[row + 1 :], sides[row + 1 :])[1])
        ).tolist()
    }
    assert len(expected) == 100 and found <= expected
    assert len(found) >= 99
    digests = np.arange(len(both), dtype=np.uint64)
    queries = find_copies(Signatures(digests[700:], noisy, sides[:100]), Signatures(digests[:700], images, sides[:700]))
    assert {(key, 700 + query) for query, key in zip(queries.queries, queries.keys, strict=True)} == expected


def test_of_many_copies_of_one_picture_all_are_connected_by_few_pairs() -> None:
    rng = np.random.default_rng(2)
    copies = (pictures(1, 3).astype(float) + rng.normal(0, 0.5, (600, 768))).round().clip(0, 255).astype(np.uint8)
    one, other = near_pairs(lambda chosen: copies[chosen], np.arange(600), np.full(600, 300))
    assert (joined(np.arange(600), one, other) == 0).all()
    assert len(one) < 600 * 16


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 40, (2, 25))
    expected = {number: {number} for number in range(40)}
    for first, second in zip(one.tolist(), other.tolist(), strict=True):
        union = expected[first] | expected[second]
        expected |= dict.fromkeys(union, union)
    groups = joined(np.arange(40), one, other)
    assert groups.tolist() == [min(expected[number]) for number in range(40)]


def test_an_image_takes_as_many_bytes_as_is_said() -> None:
    assert ROW.itemsize == 793


def test_the_command_writes_a_row_for_each_finding_and_the_sheets(
    folder: Path, tests_images: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    arguments = ["data-report", str(folder), "--against", str(tests_images), "--out", str(out), "--workers", "1"]
    assert main(arguments) == 0
    rows = list(csv.DictReader((out / "findings.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == ["unreadable"] * 2 + ["tiny"] + ["exact"] * 2 + [
        "near",
        "leak_exact",
        "leak_near",
    ]
    assert sorted(path.name for path in out.glob("*.png")) == ["leaks.png", "near_duplicates.png", "sizes.png"]
    assert all(cv2.imread(str(path)).shape[1] > 600 for path in out.glob("*.png"))
    assert "cut.jpg" in capsys.readouterr().out
    assert main(["data-report", str(tmp_path / "nowhere")]) == 2


def test_against_may_be_the_tasks_of_a_config(folder: Path, tests_images: Path, tmp_path: Path) -> None:
    config = tmp_path / "task.py"
    test = f"dict(type='ImageList', root={os.fspath(tests_images)!r})"
    config.write_text(f"tasks = dict(own=dict(type='Task', test={test}))\n")
    assert main(["data-report", str(folder), "--against", str(config), "--out", str(tmp_path / "out")]) == 0
    kinds = [row["kind"] for row in csv.DictReader((tmp_path / "out" / "findings.csv").read_text().splitlines())]
    assert kinds[-2:] == ["leak_exact", "leak_near"]
