"""Processes that a launcher has started together do each cell of a study together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from selfsup.errors import DataError
from selfsup.ops.dist import gather_objects, rank, together
from selfsup.studies import Cell, Output, Runner, Study
from selfsup.studies.cells import output_of
from tests.dist.two_processes import run_in_processes

pytestmark = pytest.mark.dist


@dataclass(frozen=True)
class Ranks:
    """Which processes are at work on the cell; one of them may fail."""

    failing: int | None = None

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        with together():
            if rank() == self.failing:
                raise DataError.at("image 3", "broken")
        return {"ranks": gather_objects(rank()) if self.failing is None else []}


def cells(seed: int) -> list[Cell]:
    first = Cell("first", Ranks())
    return [Cell("second", Ranks(), needs={"first": first}), Cell("fails", Ranks(failing=1)), first]


STUDY = Study("ranks", [cells], seeds=(0,))


def work(folder: Path) -> dict[str, Any]:
    said: list[str] = []
    states = Runner(STUDY, folder, say=said.append).run()
    return {"states": [states[cell.identity] for cell in STUDY.cells()], "said": len(said)}


def test_every_process_takes_part_in_every_cell_and_a_failure_of_one_is_that_of_all(tmp_path: Path) -> None:
    (first, second) = run_in_processes(work, tmp_path)
    assert first["states"] == second["states"] == ["done", "done", "failed"]
    assert (first["said"], second["said"]) == (4, 0)
    whole = {cell.name: cell for cell in STUDY.cells()}
    assert [output_of(whole[name], tmp_path).kept["ranks"] for name in ("first", "second")] == [[0, 1], [0, 1]]
    assert "broken" in (whole["fails"].folder(tmp_path) / "error.txt").read_text()
