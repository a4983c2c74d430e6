"""A study: its cells in the order in which they tell most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfsup.errors import ConfigError
from selfsup.studies.cells import Cell


@dataclass(frozen=True)
class Study:
    """Cells of one or several axes, for some seeds.

    Args:
        name: what pages and tables call it.
        axes: each gives its cells for a seed, see :class:`~selfsup.studies.Axis`; equal cells of several axes are done
            once.
        seeds: of the repetitions. All cells of the first come before any of the second: half of the time gives the
            whole picture once, and not half of it twice.
        question: what it asks, in a sentence.
        images: the path of one's own images, where they replace those of the config.
    """

    name: str
    axes: Sequence[Any]
    seeds: Sequence[int] = (0, 1, 2)
    question: str = ""
    images: str = ""

    def __post_init__(self) -> None:
        if not self.axes or not self.seeds:
            raise ConfigError.at("study", "needs one axis and one seed at least", got=self.name)

    def of_axis(self, axis: Any, seed: int) -> Sequence[Cell]:
        """The cells of an axis for a seed; a recipe takes a while to load, so they are made once."""
        made: dict[tuple[int, int], Sequence[Cell]] = self.__dict__.setdefault("_made", {})
        if (key := (id(axis), seed)) not in made:
            made[key] = axis(seed)
        return made[key]

    def cells(self) -> list[Cell]:
        """Every cell once, needed ones before those that need them, seed by seed.

        Raises:
            ConfigError: if two different cells would have one name.
        """
        ordered: dict[str, Cell] = {}

        def add(cell: Cell) -> Cell:
            if cell.identity not in ordered:
                needs = {name: add(needed) for name, needed in cell.needs.items()}
                ordered[cell.identity] = replace(cell, needs=needs)
            return ordered[cell.identity]

        for seed in self.seeds:
            for axis in self.axes:
                for cell in self.of_axis(axis, seed):
                    add(cell)
        by_name: dict[str, Cell] = {}
        for cell in ordered.values():
            if by_name.setdefault(cell.name, cell) is not cell:
                raise ConfigError.at("study", "two different cells have one name", got=cell.name)
        return list(ordered.values())
