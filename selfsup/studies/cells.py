"""Cells: what one piece of a study is, what can change its result, and where it stands."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from selfsup.ops.locks import is_left, living_holder

State = Literal["done", "failed", "lost", "running", "pending"]
STATES: tuple[State, ...] = ("done", "failed", "lost", "running", "pending")
DONE, ERROR, LEASE, ABOUT = "done.json", "error.txt", "lease", "cell.json"
_LONGEST = 80  # characters of a folder's name


class Work(Protocol):
    """What is done in a cell: plain data, and a function of it. A frozen dataclass whose fields decide the result."""

    def run(self, folder: Path, inputs: Mapping[str, "Output"]) -> Mapping[str, Any]:
        """Do it.

        Args:
            folder: for everything that is written; what an earlier, killed attempt has left is there.
            inputs: what the cells have left that this one needs, by the names in ``needs``.

        Returns:
            What is kept of it as JSON: ``scores`` and whatever else the reading of the study wants.
        """
        ...


@dataclass(frozen=True)
class Output:
    """What a finished cell has left.

    Args:
        folder: with its files.
        kept: what its work returned.
        seconds: that it took.
    """

    folder: Path
    kept: Mapping[str, Any]
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Cell:
    """One piece of a study.

    Args:
        name: readable, such as ``'quantity/50k/linear/seed0'``; not part of the identity.
        work: what is done.
        needs: cells whose output the work reads, by the name that the work calls them.
        factors: where the cell stands on each axis; columns of the table.
        seed: of the repetition.
    """

    name: str
    work: Work
    needs: Mapping[str, "Cell"] = field(default_factory=dict)
    factors: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def identity(self) -> str:
        """A digest of what can change the result: the work, and the identities of the cells that it needs."""
        if (known := self.__dict__.get("_identity")) is None:
            decisive = {
                "work": type(self.work).__name__,
                "fields": plain(self.work),
                "needs": {name: cell.identity for name, cell in sorted(self.needs.items())},
            }
            text = json.dumps(decisive, sort_keys=True)
            known = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            self.__dict__["_identity"] = known
        return known

    def folder(self, root: Path) -> Path:
        """Where the cell's files are: its readable name and the beginning of its identity."""
        readable = re.sub(r"[^\w.=-]+", "_", self.name)[:_LONGEST]
        return root / "cells" / f"{readable}-{self.identity[:10]}"


def plain(value: Any) -> Any:
    """Dataclasses, paths and sequences as what JSON holds.

    Raises:
        TypeError: for an object whose content cannot be told.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__ if not name.startswith("_")}
    raise TypeError(f"{value!r} is no plain data, and so no part of what a cell is known by")


def state_of(folder: Path) -> State:
    """Where a cell stands, from what is on disk alone.

    A cell that somebody is at work on is running; one whose holder died is lost; one that left an error has failed.
    """
    if (folder / DONE).is_file():
        return "done"
    if not folder.is_dir():
        return "pending"
    if living_holder(folder / LEASE) is not None:
        return "running"
    if (folder / ERROR).is_file():
        return "failed"
    return "lost" if is_left(folder / LEASE) else "pending"


def output_of(cell: Cell, root: Path) -> Output:
    """What a finished cell has left."""
    folder = cell.folder(root)
    record = json.loads((folder / DONE).read_text(encoding="utf-8"))
    return Output(folder, record["kept"], record["seconds"])
