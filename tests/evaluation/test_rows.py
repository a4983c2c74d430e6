"""The identity of a row: a test for each field that does change it, and for each that does not."""

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.data.input_contract import InputContract
from selfsup.evaluation import KNN, RawPixels, Representation, Row, Score, Task, append_row, read_rows
from selfsup.evaluation.rows import fingerprint, row_of
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
        dataclasses.replace(BASE, protocol="knn/2"),
    ],
    ids=["weights", "contract", "k", "temperature", "names", "content", "labels", "precision", "version"],
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
    ],
    ids=["the same", "name", "batch", "workers", "seconds and versions"],
)
def test_what_cannot_change_the_scores_does_not(other: Row) -> None:
    assert other.identity == BASE.identity


def test_names_count_from_the_folder_that_all_lie_in() -> None:
    here, there = Blobs(6, prefix="/here/a/blob"), Blobs(6, prefix="/over/there/blob")
    assert fingerprint(here) == fingerprint(there)


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
