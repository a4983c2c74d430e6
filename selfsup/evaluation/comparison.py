"""Rows side by side: which scores may be compared, and how far one representation is ahead of another."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsup.errors import DataError
from selfsup.evaluation.rows import Row, read_predictions, read_rows
from selfsup.evaluation.scores import Difference, Predictions, Score, paired, paired_by

RESULTS = "results.jsonl"
_MAIN = ("top1", "per_class", "map")


@dataclass(frozen=True)
class Entry:
    """A row and the file that it comes from.

    Args:
        row: see :class:`~selfsup.evaluation.Row`.
        file: beside which its predictions are.
    """

    row: Row
    file: Path


@dataclass(frozen=True, eq=False)
class Line:
    """One score of several representations that may be compared: the same task, protocol and parameters.

    Args:
        task: its name.
        evaluator: its name in the config.
        protocol: name and version.
        score: what is compared.
        values: by representation.
        entries: by representation.
    """

    task: str
    evaluator: str
    protocol: str
    score: str
    values: Mapping[str, Score]
    entries: Mapping[str, Entry]

    @property
    def title(self) -> str:
        """Such as 'own knn/top1'."""
        return f"{self.task} {self.evaluator}/{self.score}"


def read_entries(places: Sequence[str | Path]) -> list[Entry]:
    """The newest row of each identity in work dirs or files of rows.

    Raises:
        DataError: if one of them has no row.
    """
    entries: dict[str, Entry] = {}
    for place in places:
        path = Path(place).expanduser()
        file = path / RESULTS if path.is_dir() else path
        rows = read_rows(file)
        if not rows:
            raise DataError.at(str(place), f"holds no row of {RESULTS}", expected="selfsup evaluate writes them")
        entries.update({row.identity: Entry(row, file) for row in rows})
    return list(entries.values())


def names_of(entries: Sequence[Entry]) -> dict[str, str]:
    """What each representation is called, by fingerprint; with layer, step or fingerprint where names are equal."""
    about = {entry.row.representation["fingerprint"]: entry.row.representation for entry in entries}
    named: dict[str, list[str]] = {}
    for fingerprint, known in about.items():
        named.setdefault(known["name"], []).append(fingerprint)
    names = {}
    for name, several in named.items():
        for fingerprint in several:
            more = [str(about[fingerprint].get(key)) for key in ("layer", "step") if _differs(about, several, key)]
            unique = len({tuple(str(about[each].get(key)) for key in ("layer", "step")) for each in several})
            more += [fingerprint[:6]] if unique < len(several) else []
            names[fingerprint] = name if len(several) == 1 else f"{name} ({', '.join(more)})"
    return names


def _differs(about: Mapping[str, Mapping[str, Any]], several: Sequence[str], key: str) -> bool:
    return len({about[each].get(key) for each in several}) > 1


def comparable(entries: Sequence[Entry]) -> list[Line]:
    """The scores that may be compared, in the order in which they were computed."""
    names = names_of(entries)
    lines: dict[Any, tuple[dict[str, Score], dict[str, Entry]]] = {}
    for entry in entries:
        row = entry.row
        same = json.dumps([row.task["fingerprint"], row.protocol, row.parameters], sort_keys=True, default=str)
        for score, value in row.scores.items():
            values, whose = lines.setdefault((row.task["name"], row.evaluator, row.protocol, score, same), ({}, {}))
            name = names[row.representation["fingerprint"]]
            values[name], whose[name] = value, entry
    return [
        Line(task, evaluator, protocol, score, values, whose)
        for (task, evaluator, protocol, score, _), (values, whose) in lines.items()
    ]


def main_scores(lines: Sequence[Line]) -> list[Line]:
    """Of each evaluator on each task the score that counts: the task's metric, or what comes nearest to it."""
    chosen: dict[tuple[str, str, str], Line] = {}
    for line in sorted(lines, key=_rank):
        chosen.setdefault((line.task, line.evaluator, line.protocol), line)
    return [line for line in lines if line in chosen.values()]


def _rank(line: Line) -> int:
    metric = next(iter(line.entries.values())).row.task.get("metric")
    order = [metric, *_MAIN, line.score]
    return order.index(line.score)


def difference(line: Line, first: str, second: str) -> Difference | None:
    """How far the second is ahead on the same test images; None where predictions are not there."""
    if line.score not in ("top1", "top5", "per_class"):
        return None
    found = _both(line, first, second)
    return None if found is None else paired(*found, metric=line.score)  # type: ignore[arg-type]


def differences_by(line: Line, first: str, second: str, taxa: Sequence[str] | None = None) -> dict[str, Difference]:
    """The same for each class, or for each taxon.

    Args:
        line: whose predictions are compared.
        first: a representation.
        second: another.
        taxa: name of each class's taxon, in label order; None for the classes themselves.

    Raises:
        DataError: if predictions are not there.
    """
    found = _both(line, first, second)
    if found is None:
        raise DataError.at("predictions", f"of {first} or {second} are not beside their rows")
    return paired_by(*found, taxa)


def _both(line: Line, first: str, second: str) -> tuple[Predictions, Predictions] | None:
    found = [predictions_of_entry(line.entries[name]) for name in (first, second) if name in line.entries]
    there = [each for each in found if each is not None]
    return (there[0], there[1]) if len(there) == 2 else None


def predictions_of_entry(entry: Entry) -> Predictions | None:
    """What was predicted for each test image; None if that is not there."""
    return read_predictions(entry.file, entry.row)
