"""Working through the cells of a study: killed and started again, on one machine or on several, each cell once."""

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfsup.errors import ConfigError, SelfsupError
from selfsup.ops.dist import broadcast_object, gather_objects, is_main, world_size
from selfsup.ops.files import write_record
from selfsup.ops.locks import Lease
from selfsup.planning.budget import clock
from selfsup.studies.cells import ABOUT, DONE, ERROR, LEASE, Cell, Output, State, output_of, plain, state_of
from selfsup.studies.study import Study
from selfsup.studies.works import Pretrain, Train

WAIT = 2.0  # seconds between looks at cells that others are at work on


@dataclass
class Runner:
    """Does the cells of a study that are still to be done; several may work in one folder at the same time.

    Results are only ever read from disk, so that it does not matter who computed them, or whether he lives. Processes
    that a launcher has started together do each cell together.

    Args:
        study: what is to be done.
        root: the study's folder, which others may share.
        seconds: of the budget; no cell is begun whose predicted end lies behind it. None for all cells.
        predict: seconds that a cell will take; None where it is not known.
        retry: whether failed cells are done again.
        fail_fast: stop at the first failure instead of going on with cells that do not need the failed one.
        say: told what happens, a line each.
    """

    study: Study
    root: Path
    seconds: float | None = None
    predict: Callable[[Cell], float | None] = lambda cell: None
    retry: bool = False
    fail_fast: bool = False
    say: Callable[[str], object] = print
    wait: float = WAIT
    _tried: set[str] = field(default_factory=set)

    def states(self) -> dict[str, State]:
        """Where each cell stands, by identity."""
        return {cell.identity: state_of(cell.folder(self.root)) for cell in self.study.cells()}

    def run(self) -> dict[str, State]:
        """Work until nothing is left that can be done within the budget.

        Returns:
            Where each cell stands then.
        """
        cells = self.study.cells()
        check_study(self.root, self.study)
        if is_main() and (others := self._of_other_batches(cells)):
            self.say(
                f"{len(others)} trainings here were begun on another number of processes than {world_size()}, so with "
                f"another batch, such as {others[0].name}: compare their scores with care"
            )
        began = time.monotonic()
        while True:
            outcome = self._one_round(cells, began)
            if outcome == "waiting":
                time.sleep(self.wait)
            elif outcome == "over":
                return self.states()

    def _of_other_batches(self, cells: Sequence[Cell]) -> list[Cell]:
        """The trainings that were begun on another number of processes."""
        found = []
        for cell in cells:
            path = cell.folder(self.root) / ABOUT
            if isinstance(cell.work, Pretrain | Train) and path.is_file():
                about = json.loads(path.read_text(encoding="utf-8"))
                if about.get("processes", 1) != world_size():
                    found.append(cell)
        return found

    def _one_round(self, cells: Sequence[Cell], began: float) -> str:
        """Look for the first cell that can be done, and do it: 'worked', 'waiting' for others, or 'over'.

        Of several processes the main one looks, and all of them do the cell together.
        """
        outcome, number, position, lease = self._next(cells, began) if is_main() else ("", None, "", None)
        outcome, number, position = broadcast_object((outcome, number, position))
        if number is None:
            return outcome
        failed = not self._work(cells[number], lease, position=position)
        return "over" if failed and self.fail_fast else "worked"

    def _next(self, cells: Sequence[Cell], began: float) -> tuple[str, int | None, str, Lease | None]:
        """How the round ends without a cell; or the number of a cell that can be done, and its lease."""
        done = {cell.identity for cell in cells if state_of(cell.folder(self.root)) == "done"}
        waiting = False
        for number, cell in enumerate(cells):
            if cell.identity in done or cell.identity in self._tried:
                continue
            state = state_of(cell.folder(self.root))
            if state == "done":  # by somebody else, since the round began
                return "worked", None, "", None
            if state == "running":
                waiting = True
                continue
            if state == "failed" and not self.retry:
                continue
            missing = [needed for needed in cell.needs.values() if needed.identity not in done]
            if missing or not self._in_budget(cell, began):
                continue
            if (lease := self._take(cell)) is None:
                waiting = True
                continue
            return "", number, f"{len(done) + 1} of {len(cells)}{self._time(cell, cells, done)}", lease
        return "waiting" if waiting else "over", None, "", None

    def _in_budget(self, cell: Cell, began: float) -> bool:
        if self.seconds is None:
            return True
        left = self.seconds - (time.monotonic() - began)
        return left > (self.predict(cell) or 0.0)

    def _time(self, cell: Cell, cells: Sequence[Cell], done: set[str]) -> str:
        """What a cell will take and what all will, where that is known."""
        left = [self.predict(each) for each in cells if each.identity not in done | self._tried]
        own = self.predict(cell)
        if own is None or None in left:
            return ""
        return f" (about {clock(own)}; {clock(sum(each or 0 for each in left))} for all that are left)"

    def _take(self, cell: Cell) -> Lease | None:
        folder = cell.folder(self.root)
        folder.mkdir(parents=True, exist_ok=True)
        return Lease.take(folder / LEASE)

    def _work(self, cell: Cell, lease: Lease | None, *, position: str) -> bool:
        """Do a cell under a lease, which the main process has; whether it came to its end."""
        folder = cell.folder(self.root)
        with lease or nullcontext():
            if broadcast_object((folder / DONE).is_file()):  # done between the look and the lease
                return True
            about = {"name": cell.name, "identity": cell.identity, "seed": cell.seed, "factors": plain(cell.factors)}
            about["processes"] = world_size()
            about["work"] = {"type": type(cell.work).__name__, **plain(cell.work)}
            if lease is not None:
                write_record(folder / ABOUT, json.dumps(about, indent=1) + "\n")
                (folder / ERROR).unlink(missing_ok=True)
                self.say(f"{position}: {cell.name}")
            kept: Mapping[str, Any] = {}
            started, own_fault = time.monotonic(), ""
            try:
                inputs = {name: output_of(needed, self.root) for name, needed in cell.needs.items()}
                kept = cell.work.run(folder, inputs)
            except Exception as error:
                if world_size() > 1 and not isinstance(error, SelfsupError):
                    write_record(folder / ERROR, traceback.format_exc())
                    raise  # the others wait inside the cell for this process: the launcher ends all of them
                own_fault = str(error) if isinstance(error, SelfsupError) else traceback.format_exc()
            if text := next(filter(None, gather_objects(own_fault)), ""):
                self._tried.add(cell.identity)
                if lease is not None:
                    write_record(folder / ERROR, text + "\n")
                    self.say(f"{cell.name} has failed: {text.strip().splitlines()[-1]} (all of it in {folder / ERROR})")
                return False
            if lease is not None and not lease.is_held:
                self.say(f"{cell.name}: another process has taken it over; what it computes counts")
            elif lease is not None:
                seconds = round(time.monotonic() - started, 3)
                result = {"identity": cell.identity, "seconds": seconds, "kept": plain(kept)}
                write_record(folder / DONE, json.dumps(result, indent=1) + "\n")
        return True


def check_study(root: Path, study: Study) -> None:
    """Make the study's folder, and reject one that holds another study.

    Raises:
        ConfigError: if it does.
    """
    if not is_main():
        return
    root.mkdir(parents=True, exist_ok=True)
    path = root / "study.json"
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there["name"] != study.name:
            raise ConfigError.at(
                "--work-dir", f"{root} holds another study", got=there["name"], expected=f"not {study.name}"
            )
        if (images := there.get("images", study.images)) != study.images:
            raise ConfigError.at(
                "--work-dir", f"{root} holds this study of other images", got=images, expected="another folder"
            )
    about = {"name": study.name, "question": study.question, "images": study.images}
    write_record(path, json.dumps(about, indent=1) + "\n")


def finished(study: Study, root: Path) -> list[tuple[Cell, Output]]:
    """The cells that are done, with what they have left."""
    return [(cell, output_of(cell, root)) for cell in study.cells() if state_of(cell.folder(root)) == "done"]
