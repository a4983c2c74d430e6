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
        same: digest of what must be equal: the images of each part, protocol and parameters.
        values: by representation.
        entries: by representation.
    """

    task: str
    evaluator: str
    protocol: str
    score: str
    same: str
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
    """The scores that may be compared, in the order in which they were computed.

    Tasks of one name with other images are told apart by how many test images they have.
    """
    names = names_of(entries)
    tasks: dict[str, dict[str, Any]] = {}
    for entry in entries:
        task = entry.row.task
        tasks.setdefault(task["name"], {})[json.dumps(task["fingerprint"], sort_keys=True)] = task["images"]["test"]
    lines: dict[Any, tuple[dict[str, Score], dict[str, Entry]]] = {}
    for entry in entries:
        row = entry.row
        same = json.dumps([row.task["fingerprint"], row.protocol, row.parameters], sort_keys=True, default=str)
        task = row.task["name"]
        shown = task if len(tasks[task]) == 1 else f"{task} ({row.task['images']['test']:,} test images)"
        for score, value in row.scores.items():
            values, whose = lines.setdefault((shown, row.evaluator, row.protocol, score, same), ({}, {}))
            name = names[row.representation["fingerprint"]]
            values[name], whose[name] = value, entry
    return [
        Line(task, evaluator, protocol, score, same, values, whose)
        for (task, evaluator, protocol, score, same), (values, whose) in lines.items()
    ]


def main_scores(lines: Sequence[Line]) -> list[Line]:
    """Of each evaluator on each task the score that counts: the task's metric, or what comes nearest to it.

    An evaluator that has none of these, such as few shots or levels, shows all that have an interval, of several
    classifiers those of the first; one without intervals shows its first score.
    """
    of_each: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        of_each.setdefault((line.evaluator, line.same), []).append(line)
    chosen: list[Line] = []
    for group in of_each.values():
        metric = next(iter(group[0].entries.values())).row.task.get("metric")
        by_name = {line.score: line for line in group}
        main = next((by_name[name] for name in (metric, *_MAIN) if name in by_name), None)
        kind = group[0].score.rstrip("0123456789")
        several = [
            line
            for line in group
            if any(score.low is not None for score in line.values.values())
            and (kind == group[0].score or line.score.rstrip("0123456789") == kind)
        ]
        chosen += [main] if main is not None else several or group[:1]
    return chosen


def difference(line: Line, first: str, second: str) -> Difference | None:
    """How far the second is ahead on the same test images; None where predictions are not there."""
    if line.score not in ("top1", "top5", "per_class"):
        return None
    found = _both(line, first, second)
    if line.score == "top5" and found is not None and not all(each.has_top5 for each in found):
        return None
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
