"""Cells that take milliseconds: each writes down that it was done, and how often it was begun."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsup.studies import Cell, Output, Study


@dataclass(frozen=True)
class Square:
    """The square of a number, after some steps that survive a kill."""

    value: int
    steps: int = 4
    pause: float = 0.002

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        with (folder / "begun").open("a") as file:
            file.write("x")
        progress = folder / "progress"
        step = int(progress.read_text()) if progress.is_file() else 0
        while step < self.steps:
            time.sleep(self.pause)
            step += 1
            partial = folder / "partial"
            partial.write_text(str(step))
            partial.replace(progress)
        with (folder / "ended").open("a") as file:
            file.write("x")
        return {"scores": {"value": self.value**2}}


@dataclass(frozen=True)
class Sum:
    """The sum of what the needed cells have found, plus something."""

    plus: int = 0

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        return {"scores": {"value": self.plus + sum(each.kept["scores"]["value"] for each in inputs.values())}}


@dataclass(frozen=True)
class Broken:
    """Never comes to its end."""

    reason: str = "no reason"

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        raise RuntimeError(self.reason)


def squares(seed: int, count: int = 4) -> list[Cell]:
    """Squares, and their sum."""
    cells = [Cell(f"square={number}/seed={seed}", Square(number + 10 * seed), seed=seed) for number in range(count)]
    whole = Cell(f"sum/seed={seed}", Sum(), needs={cell.name: cell for cell in cells}, seed=seed)
    return [whole, *cells]


STUDY = Study("squares", [squares], seeds=(0, 1, 2))
