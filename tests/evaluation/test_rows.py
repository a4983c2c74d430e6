"""The identity of a row: a test for each field that does change it, and for each that does not."""

import dataclasses
import multiprocessing
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfsup.data import ImageList, Subset
from selfsup.data.hierarchy import Hierarchy
from selfsup.data.input_contract import InputContract
from selfsup.data.standard.files import NamedFiles
from selfsup.evaluation import (
    KNN,
    Granularity,
    RawPixels,
    Representation,
    Row,
    Score,
    Task,
    append_row,
    paired,
    read_rows,
)
from selfsup.evaluation.extraction.fingerprint import SAMPLED, fingerprint
from selfsup.evaluation.rows import (
    parameters_of,
    predictions_file,
    read_predictions,
    row_of,
    write_predictions,
)
from tests.evaluation.pictures import SMALL, Blobs


class Projected(RawPixels):
    def __init__(self, seed: int = 0) -> None:
        super().__init__(2)
        self.register_buffer("matrix", torch.randn(12, 5, generator=torch.Generator().manual_seed(seed)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) @ self.matrix


def row(
    seed: int = 0, contract: InputContract = SMALL, knn: KNN | None = None, test: Any = None, **options: Any
) -> Row:
    representation = Representation(Projected(seed), contract, **options)
    task = Task(train=Blobs(30), test=Blobs(12, prefix="test") if test is None else test)
    evaluator = knn or KNN(k=3)
    return row_of(representation, task, "knn", evaluator).with_result(evaluator.evaluate(representation, task), 1.0)


def relabelled() -> Blobs:
    blobs = Blobs(12, prefix="test")
    blobs.labels = np.roll(blobs.labels, 1)
    return blobs


BASE = row()


def of_task(evaluator: Any = None, **options: Any) -> Row:
    """A row that is still to be done."""
    parts = {"train": Blobs(30), "test": Blobs(12, prefix="test")}
    return row_of(Representation(Projected(), SMALL), Task(**{**parts, **options}), "any", evaluator or KNN(k=3))


SHOWN_OTHERWISE: dict[str, Any] = {
    "size": 8,
    "resize": "square",
    "crop": "none" if SMALL.crop == "center" else "center",
    "interpolation": "bicubic",
    "antialias": False,
    "std": (0.5, 0.5, 0.5),
    "value_range": (-1.0, 1.0),
    "channel_order": "bgr",
    "background": (0, 0, 0),
}


def of_contract(**fields: Any) -> Row:
    task = Task(train=Blobs(30), test=Blobs(12, prefix="test"))
    return row_of(Representation(Projected(), SMALL.replace(**fields)), task, "any", KNN(k=3))


def of_layer(layer: str) -> Row:
    task = Task(train=Blobs(30), test=Blobs(12, prefix="test"))
    return row_of(Representation(Projected(), SMALL, layer=layer), task, "any", KNN(k=3))


def tree(*above: str) -> Hierarchy:
    return Hierarchy(("kind",), {f"class {number}": (kind,) for number, kind in enumerate(above)})


def granularity(k: int, *above: str) -> Row:
    return of_task(Granularity(probe=dict(type="KNN", k=k)), hierarchy=tree(*above))


@pytest.mark.parametrize(
    "other",
    [
        row(seed=1),
        row(contract=SMALL.replace(mean=(0.5, 0.5, 0.5))),
        row(knn=KNN(k=4)),
        row(knn=KNN(k=3, temperature=0.1)),
        row(test=Blobs(12, prefix="other")),
        row(test=Blobs(12, prefix="test", noise=61.0)),
        row(test=relabelled()),
        dataclasses.replace(BASE, precision="bf16"),
        dataclasses.replace(BASE, protocol="knn/0"),
        of_task(metric="per_class"),
        of_task(train=Blobs(30, seed=1)),
        of_task(seed=1),
        of_task(max_train=20),
        of_task(val=Blobs(9, seed=2, prefix="val")),
        of_layer("res4"),
        *(of_contract(**{name: value}) for name, value in SHOWN_OTHERWISE.items()),
    ],
    ids=[
        "weights",
        "contract",
        "k",
        "temperature",
        "names",
        "content",
        "labels",
        "precision",
        "version",
        "metric",
        "train",
        "cut",
        "max_train",
        "val",
        "layer",
        *SHOWN_OTHERWISE,
    ],
)
def test_what_can_change_the_scores_changes_the_identity(other: Row) -> None:
    assert other.identity != BASE.identity


@pytest.mark.parametrize(
    "other",
    [
        row(),
        row(name="another name"),
        row(batch_size=5),
        row(num_workers=1),
        dataclasses.replace(BASE, seconds=9.0, versions={"torch": "9"}, evaluator="mine", notes=("x",)),
        dataclasses.replace(BASE, chosen={"k": 1}, scores={}),
        of_task(name="another task"),
        of_task(hierarchy=tree("a", "b", "b")),
    ],
    ids=["the same", "name", "batch", "workers", "seconds and versions", "outcome", "task", "unused hierarchy"],
)
def test_what_cannot_change_the_scores_does_not(other: Row) -> None:
    assert other.identity == BASE.identity


def test_a_hierarchy_and_the_arguments_of_a_probe_change_the_identity_where_they_are_used() -> None:
    assert len({each.identity for each in (granularity(3, "a", "a", "b"), granularity(3, "a", "b", "b"))}) == 2
    assert granularity(3, "a", "a", "b").identity != granularity(4, "a", "a", "b").identity
    assert granularity(3, "a", "a", "b").identity == granularity(3, "a", "a", "b").identity
    assert parameters_of(Granularity(probe=KNN(k=4)))["probe"]["k"] == 4


def test_predictions_lie_beside_their_row_and_are_paired_by_name(tmp_path: Path) -> None:
    rows, found = tmp_path / "results.jsonl", []
    for number, seed in enumerate((0, 1)):
        test = Blobs(12, prefix=f"/disk {number}/test", bad=(number,), groups=2)
        task = Task(train=Blobs(30, num_classes=3), test=test)
        representation = Representation(Projected(seed), SMALL, log=lambda text: None)
        result = KNN(k=3).evaluate(representation, task)
        assert result.predictions is not None
        new = row_of(representation, task, "knn", KNN(k=3))
        assert read_predictions(rows, new) is None
        assert write_predictions(rows, new, result.predictions, test) == predictions_file(rows, new)
        read = read_predictions(rows, new)
        assert read is not None and read.names is not None and read.names[-1] == "test 11"
        assert read.class_names == test.classes and read.groups.tolist() == result.predictions.groups.tolist()  # type: ignore[union-attr]
        assert (read.right == result.predictions.right).all() and (read.best(1)[:, 0] == read.predicted).all()
        assert read.confidence == pytest.approx(result.predictions.confidence, rel=1e-6)
        found.append(read)
    difference = paired(*found)
    assert (difference.n, difference.unpaired, difference.spread) == (10, 2, "groups")


def test_names_count_from_the_folder_that_all_lie_in() -> None:
    here, there = Blobs(6, prefix="/here/a/blob"), Blobs(6, prefix="/over/there/blob")
    assert fingerprint(here) == fingerprint(there)


def pictures(folder: Path, *, depth: int = 8) -> Path:
    """400 equal files, of which half are looked into."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    suffix = ".png" if depth == 16 else ".jpg"
    picture = rng.integers(0, 1 << 12 if depth == 16 else 256, (64, 64, 3)).astype(np.uint16 if depth == 16 else "u1")
    content = cv2.imencode(suffix, picture)[1].tobytes()
    for number in range(400):
        (folder / f"{number:03d}{suffix}").write_bytes(content)
    return folder


def test_how_files_are_decoded_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "here", depth=16)
    read = [{}, {"bit_depth": 12}, {"min_side": 16}, {"max_pixels": 100}]
    found = {fingerprint(Subset(ImageList(folder, **options), count=300)) for options in read}
    assert len(found) == 4
    names, labels = [f"{number:03d}.png" for number in range(400)], np.zeros(400, np.int64)
    assert len({fingerprint(NamedFiles(folder, names, labels, ["a"], border=border)) for border in (0, 2)}) == 2


def test_the_size_of_every_file_is_part_of_the_fingerprint_and_nothing_of_where_and_when(tmp_path: Path) -> None:
    here, there = pictures(tmp_path / "here"), pictures(tmp_path / "over" / "there")
    os.utime(there / "007.jpg", (1, 1))
    assert fingerprint(ImageList(here)) == fingerprint(ImageList(there, cache=tmp_path / "list"))
    looked_into = set(np.linspace(0, 399, SAMPLED).astype(int).tolist())
    unseen = next(number for number in range(400) if number not in looked_into)
    file = there / f"{unseen:03d}.jpg"
    file.write_bytes(file.read_bytes() + b"0")
    assert fingerprint(ImageList(here)) != fingerprint(ImageList(there))


def test_a_row_survives_its_file_and_a_line_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    append_row(path, BASE)
    with path.open("a") as file:
        file.write(BASE.to_json()[:40])
    (found,) = read_rows(path)
    assert found == dataclasses.replace(BASE, scores=found.scores) and found.scores == dict(BASE.scores)
    assert isinstance(found.scores["top1"], Score) and found.identity == BASE.identity
    assert read_rows(tmp_path / "none.jsonl") == []


def _append(path: Path) -> None:
    for _ in range(20):
        append_row(path, BASE)


def test_several_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    processes = [multiprocessing.get_context("fork").Process(target=_append, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(read_rows(path)) == 60
    assert not list(tmp_path.glob("*.lock"))
