"""A plan: every cell, where it stands, what it will take, and what a budget leaves out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfsup.errors import ConfigError
from selfsup.planning.budget import clock
from selfsup.studies.cells import Cell, State, state_of
from selfsup.studies.study import Study


@dataclass(frozen=True)
class Plan:
    """What a call will do.

    Args:
        cells: all of them, in the order in which they are done.
        states: by identity.
        seconds: predicted, by identity; None where nothing is known.
        chosen: identities of the cells that the budget has room for.
        stale: folders of cells that an earlier config of the study has left.
        blocked: cells that a failed one stands in the way of, itself too.
    """

    cells: Sequence[Cell]
    states: Mapping[str, State]
    seconds: Mapping[str, float | None]
    chosen: frozenset[str]
    stale: Sequence[str] = ()
    blocked: frozenset[str] = frozenset()

    @property
    def open(self) -> list[Cell]:
        """Cells that are not done and that nothing stands in the way of."""
        return [
            cell for cell in self.cells if self.states[cell.identity] != "done" and cell.identity not in self.blocked
        ]

    def shown(self, cell: Cell) -> str:
        """The state of a cell, and whether the budget leaves it out."""
        state = self.states[cell.identity]
        if state == "done":
            return state
        if cell.identity in self.blocked:
            return state if state == "failed" else f"{state}, needs a failed one"
        return state if cell.identity in self.chosen else f"{state}, left out by the budget"

    def words(self) -> list[str]:
        """The plan in a few lines."""
        states = list(self.states.values())
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        known = [self.seconds[cell.identity] for cell in self.open]
        unknown = known.count(None)
        total = clock(sum(each or 0.0 for each in known))
        lines = [f"{len(self.cells)} cells ({counts}); {total} predicted for what is left"]
        if unknown:
            lines[0] += f", and {unknown} cells of which nothing is known yet"
        left_out = [cell for cell in self.open if cell.identity not in self.chosen]
        if left_out:
            lines.append(f"the budget leaves out {len(left_out)} cells, the first of them {left_out[0].name}")
        if self.blocked:
            lines.append("cells have failed; --retry does them again")
        if self.stale:
            valid = states.count("done")
            lines.append(
                f"the config has changed: {valid} finished cells are still valid, {len(self.stale)} are of no use to "
                f"it and are left alone ({self.stale[0]}{', ...' if len(self.stale) > 1 else ''})"
            )
        return lines

    def check_budget(self, budget: str) -> None:
        """Reject a budget that has no room for one cell.

        Raises:
            ConfigError: with what the first one would take.
        """
        if self.open and not self.chosen:
            shortest = min(self.seconds[cell.identity] or 0.0 for cell in self.open if self._is_ready(cell))
            raise ConfigError.at(
                "--budget", "has no room for one cell", got=budget, expected=f"more than {clock(shortest)}"
            )

    def _is_ready(self, cell: Cell) -> bool:
        return all(self.states[needed.identity] == "done" for needed in cell.needs.values())


def plan_of(
    study: Study,
    root: Path,
    predict: Callable[[Cell], float | None],
    *,
    seconds: float | None = None,
    retry: bool = False,
) -> Plan:
    """What the runner will do, in its order.

    Args:
        study: what is planned.
        root: its folder.
        predict: seconds of a cell.
        seconds: of the budget; None for all cells.
        retry: whether failed cells are done again.
    """
    cells = study.cells()
    states = {cell.identity: state_of(cell.folder(root)) for cell in cells}
    predicted = {cell.identity: predict(cell) for cell in cells}
    chosen: set[str] = set()
    blocked: set[str] = set()
    left = float("inf") if seconds is None else seconds
    for cell in cells:
        state, needs = states[cell.identity], [needed.identity for needed in cell.needs.values()]
        if state == "done":
            continue
        if (state == "failed" and not retry) or any(need in blocked for need in needs):
            blocked.add(cell.identity)
            continue
        ready = all(states[need] == "done" or need in chosen for need in needs)
        took = predicted[cell.identity] or 0.0
        if ready and left > took:
            chosen.add(cell.identity)
            left -= took
    own = {cell.folder(root).name for cell in cells}
    others = sorted(path.name for path in (root / "cells").glob("*") if path.name not in own)
    return Plan(cells, states, predicted, frozenset(chosen), others, frozenset(blocked))
