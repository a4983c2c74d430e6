"""Classes above classes: from a table of taxa, nested folders, or a list of parents as WordNet has it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.errors import ConfigError, DataError, nearest

FINEST = "class"
"""The level of the classes themselves."""


@dataclass(frozen=True)
class Hierarchy:
    """For every class the taxa that it belongs to, from the root down.

    Taxa are told apart by all that lies above them: two genera of one name in different families are two.

    Args:
        levels: names of the levels, the coarsest first, without that of the classes.
        lineages: of each class, by name: its taxon at each level, in the order of ``levels``.

    Raises:
        DataError: if a lineage is not as long as there are levels.
    """

    levels: tuple[str, ...]
    lineages: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for name, lineage in self.lineages.items():
            if len(lineage) != len(self.levels):
                raise DataError.at("hierarchy", f"{name!r} has {len(lineage)} taxa for {len(self.levels)} levels")
        if FINEST in self.levels:
            raise ConfigError.at("hierarchy.levels", f"{FINEST!r} is what the classes themselves are called")

    @classmethod
    def of(cls, given: Any, classes: Sequence[str] | None) -> "Hierarchy":
        """A hierarchy as a config states it.

        Args:
            given: a Hierarchy; ``'folders'``; or a dict with one of ``csv``, ``parents`` and ``folders``, and the other
                arguments of :meth:`from_csv`, :meth:`from_parents` and :meth:`from_folders`.
            classes: of the task.

        Raises:
            ConfigError: if it is none of these.
            DataError: if its file is broken.
        """
        if isinstance(given, Hierarchy):
            return given
        options: dict[str, Any] = (
            {"folders": None} if given == "folders" else dict(given) if isinstance(given, Mapping) else {}
        )
        kinds = [kind for kind in ("csv", "parents", "folders") if kind in options]
        if len(kinds) != 1:
            raise ConfigError.at("hierarchy", "must have one of csv, parents and folders", got=given)
        value = options.pop(kinds[0])
        try:
            if kinds[0] == "csv":
                return cls.from_csv(Path(value), **options)
            if kinds[0] == "parents":
                return cls.from_parents(value, classes or (), **options)
            return cls.from_folders(classes or (), **options)
        except TypeError as error:
            raise ConfigError.at("hierarchy", str(error)) from error

    @classmethod
    def from_csv(
        cls, path: str | Path, *, levels: Sequence[str] | None = None, column: str | None = None
    ) -> "Hierarchy":
        """A table with a row for each class and a column for each level, with a header.

        Args:
            path: of the table; its separator is a tab where it ends on ``.tsv``.
            levels: columns of the levels, the coarsest first; None for all but that of the classes, in their order.
            column: of the names of classes; None for the last one.

        Raises:
            DataError: if it lacks a column, a class stands in it twice with different taxa, or a taxon is missing.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise DataError.at("hierarchy.csv", "there is no such file", got=str(path))
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            header = list(reader.fieldnames or ())
            column = column or (header[-1] if header else "")
            levels = tuple(name for name in header if name != column) if levels is None else tuple(levels)
            for name in (*levels, column):
                if name not in header:
                    raise DataError.at(
                        "hierarchy.csv", f"{path.name} has no such column", got=name, expected=nearest(name, header)
                    )
            lineages: dict[str, tuple[str, ...]] = {}
            for number, row in enumerate(reader, start=2):
                name, lineage = (row[column] or "").strip(), tuple((row[level] or "").strip() for level in levels)
                if not name or not all(lineage):
                    empty = next(
                        each for each, value in zip((column, *levels), (name, *lineage), strict=True) if not value
                    )
                    raise DataError.at("hierarchy.csv", f"{path.name} line {number} has no {empty}", got=name or None)
                if lineages.setdefault(name, lineage) != lineage:
                    raise DataError.at(
                        "hierarchy.csv", f"{path.name} line {number}: the class has other taxa above", got=name
                    )
        return cls(levels, lineages)

    @classmethod
    def from_folders(cls, classes: Sequence[str], *, levels: Sequence[str] | None = None) -> "Hierarchy":
        """Classes whose names are the paths of nested folders, such as ``animals/dogs/beagle``.

        Args:
            classes: names, all equally deep or filled up with themselves.
            levels: names of the levels, the coarsest first; None for ``depth 1``, ``depth 2`` and so on.
        """
        paths = {name: name.split("/") for name in classes}
        chains = {name: ["/".join(path[: n + 1]) for n in range(len(path))] for name, path in paths.items()}
        return cls._of_chains(chains, levels)

    @classmethod
    def from_parents(
        cls,
        parents: Mapping[str, str] | str | Path,
        classes: Sequence[str],
        *,
        levels: Sequence[str] | None = None,
    ) -> "Hierarchy":
        """A list of who is above whom, as ``wordnet.is_a.txt`` of ImageNet is one.

        A level is a depth below the root; a class that is less deep stands for itself there. Of several parents the
        first counts. What is nobody's child is a root.

        Args:
            parents: parent by child, or a file with a line ``parent child`` for each pair.
            classes: whose ancestors are wanted.
            levels: names of the depths, the coarsest first, for as many of them as are wanted; None for all, called
                ``depth 1`` and so on.

        Raises:
            DataError: if a class has no parent though it is not a root, or is its own ancestor.
        """
        above = dict(parents) if isinstance(parents, Mapping) else _read_parents(Path(parents))
        roots = set(above.values()) - set(above)
        chains: dict[str, list[str]] = {}
        for name in classes:
            chain, seen = [name], {name}
            while chain[-1] in above:
                parent = above[chain[-1]]
                if parent in seen:
                    circle = [*chain[chain.index(parent) :], parent]
                    raise DataError.at("hierarchy.parents", "a class is its own ancestor", got=" < ".join(circle))
                chain.append(parent)
                seen.add(parent)
            if chain[-1] not in roots:
                raise DataError.at(
                    "hierarchy.parents", "a class has no parent", got=chain[-1], expected=nearest(chain[-1], above)
                )
            chains[name] = chain[::-1]
        return cls._of_chains(chains, levels)

    @classmethod
    def _of_chains(cls, chains: Mapping[str, Sequence[str]], levels: Sequence[str] | None) -> "Hierarchy":
        """From ancestors, the root first, the class last; levels of a single taxon are left out."""
        deepest = max((len(chain) for chain in chains.values()), default=1)
        full = {name: (*chain, *[name] * (deepest - len(chain))) for name, chain in chains.items()}
        depths = [depth for depth in range(deepest - 1) if len({chain[depth] for chain in full.values()}) > 1]
        if levels is not None:
            if len(levels) > len(depths):
                raise ConfigError.at("hierarchy.levels", f"there are {len(depths)} levels", got=tuple(levels))
            depths = depths[: len(levels)]
        names = tuple(levels) if levels is not None else tuple(f"depth {number + 1}" for number in range(len(depths)))
        return cls(names, {name: tuple(chain[depth] for depth in depths) for name, chain in full.items()})

    def check(self, classes: Iterable[str] | None, place: str = "hierarchy") -> None:
        """Reject a hierarchy that lacks a class.

        Raises:
            DataError: naming some that are missing.
        """
        missing = [name for name in classes or () if name not in self.lineages]
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise DataError.at(
                place,
                f"{len(missing)} classes have no place in it",
                got=some,
                expected=nearest(missing[0], self.lineages),
            )

    def taxa(self, level: str, classes: Sequence[str]) -> list[str]:
        """The taxon of each class at a level, in the order of the classes.

        A name that several taxa of the level share is written with what lies above it, ``family/genus``.

        Raises:
            ConfigError: if there is no such level.
        """
        if level == FINEST:
            return list(classes)
        if level not in self.levels:
            known = (*self.levels, FINEST)
            raise ConfigError.at("level", "there is no such level", got=level, expected=nearest(level, known))
        depth = self.levels.index(level) + 1
        whole = [self.lineages[name][:depth] for name in classes]
        owners: dict[str, set[tuple[str, ...]]] = {}
        for lineage in whole:
            owners.setdefault(lineage[-1], set()).add(lineage)
        return [lineage[-1] if len(owners[lineage[-1]]) == 1 else "/".join(lineage) for lineage in whole]

    def numbers(self, level: str, classes: Sequence[str]) -> np.ndarray:
        """The number of each class's taxon at a level, int64 (C,), as taxa first occur among the classes."""
        names = self.taxa(level, classes)
        place = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.array([place[name] for name in names], np.int64)


def _read_parents(path: Path) -> dict[str, str]:
    path = path.expanduser()
    if not path.is_file():
        raise DataError.at("hierarchy.parents", "there is no such file", got=str(path))
    above: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split("\t") if "\t" in line else line.split()
        if not words:
            continue
        if len(words) != 2:
            raise DataError.at("hierarchy.parents", f"{path.name} line {number} is not 'parent child'", got=line)
        above.setdefault(words[1].strip(), words[0].strip())
    return above
