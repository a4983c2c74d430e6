"""Rows: every evaluator on every task that it fits, each computed once and kept at once."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selfsup.evaluation.baselines import ImageStatistics
from selfsup.evaluation.evaluator import evaluate_task, fitting
from selfsup.evaluation.extraction.features import device_of
from selfsup.evaluation.leaks import ALSO, WITHOUT, Leaks
from selfsup.evaluation.opening import relatives
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.rows import Row, append_row, read_predictions, read_rows, row_of, write_predictions
from selfsup.evaluation.scores import Result
from selfsup.evaluation.task import Task
from selfsup.ops.dist import broadcast_object, is_main

DEFAULT_PROTOCOLS: dict[str, dict[str, Any]] = {
    "knn": {"type": "KNN"},
    "linear": {"type": "LinearProbe"},
    "logistic": {"type": "LogisticRegression"},
    "few_shot": {"type": "FewShot"},
    "spread": {"type": "Spread"},
}
"""What a backbone is evaluated by unless protocols are named."""
NAMED_PROTOCOLS: dict[str, dict[str, Any]] = {
    **DEFAULT_PROTOCOLS,
    "corruptions": {"type": "Corruptions", "probe": {"type": "LinearProbe"}},
    "imagenet_c": {"type": "Corruptions", "kinds": "imagenet-c", "probe": {"type": "LinearProbe"}},
    "class_subset": {"type": "ClassSubset", "probe": {"type": "LinearProbe"}},
}
"""What a name stands for that is not just an evaluator with its defaults."""


def baselines_of(spec: str, representation: Representation, *, cache: Path | None = None) -> list[Representation]:
    """What needs no training, shown the same images: hand-made statistics, and the network with random weights.

    Where the weights began from others that are still there, those are a baseline too. A fusion has the first alone.

    Args:
        spec: what the representation was opened by, see :func:`~selfsup.evaluation.opening.open_representation`.
        representation: what is evaluated.
        cache: the folder of the features.
    """
    shown: dict[str, Any] = {
        "input_contract": representation.input_contract,
        "cache": cache,
        "flips": representation.flips,
    }
    device = device_of(representation.backbone)
    found = [Representation(ImageStatistics().to(device), name="image statistics", **shown)]
    if "+" not in spec:
        for name, backbone in relatives(spec):
            own = {"layer": representation.layer, **shown}
            found.append(Representation(backbone.to(device), name=f"{spec}, {name}", **own))
    return found


def evaluate_rows(
    representation: Representation,
    tasks: Mapping[str, Task],
    evaluators: Mapping[str, Any],
    *,
    only: Mapping[str, str] | None = None,
    leaks: Mapping[str, Leaks] | None = None,
    results: Path | None = None,
    about: Mapping[str, Any] | None = None,
    note: Callable[[str], object] = print,
) -> list[Row]:
    """Every evaluator on every task that it fits.

    Args:
        representation: what is evaluated.
        tasks: by name.
        evaluators: by name.
        only: for evaluators that are meant for one task, its name.
        leaks: of tasks, by name: the scores without copies stand beside the others.
        results: the file that rows are appended to as soon as they are there, predictions beside it; a row that it
            holds is not computed again.
        about: more about the representation, such as ``method`` and ``step``.
        note: told which evaluators are left out, and why.

    Returns:
        A row for each evaluator and task; the same in every process.
    """
    known = {row.identity: row for row in broadcast_object(read_rows(results) if results and is_main() else [])}
    rows = []
    for name, task in fitting(tasks, evaluators, only=only, skipped=note):
        row = row_of(representation, task, name, evaluators[name], **(about or {}))
        copies = (leaks or {}).get(task.name)
        if (found := known.get(row.identity)) is not None:
            again = _up_to_date(found, copies, results)
            if again != found and results is not None and is_main():
                append_row(results, again)
            known[row.identity] = again
        else:
            started = time.monotonic()
            result = _with_leaks(evaluate_task(representation, task, name, evaluators[name]), copies)
            row = row.with_result(result, time.monotonic() - started)
            if results is not None and is_main():
                if result.predictions is not None:
                    write_predictions(results, row, result.predictions, task.parts.test)
                append_row(results, row)
            known[row.identity] = row
        rows.append(dataclasses.replace(known[row.identity], evaluator=name))
    return rows


def _up_to_date(row: Row, copies: Leaks | None, results: Path | None) -> Row:
    """A row of before with what is known of copies by now."""
    others = tuple(note for note in row.notes if ALSO not in note)
    if copies is None or results is None or row.notes == (*others, *copies.lines()):
        return row
    where = [f"{ALSO} {place} images" for place in copies.counts]
    if not all(any(place in note for place in where) for note in row.notes if ALSO in note):
        return row  # more is known in it
    scores = {name: score for name, score in row.scores.items() if not name.endswith(WITHOUT)}
    result = _with_leaks(Result(scores, read_predictions(results, row), notes=others), copies)
    return dataclasses.replace(row, scores=result.scores, notes=result.notes)


def _with_leaks(result: Result, leaks: Leaks | None) -> Result:
    if leaks is None:
        return result
    scores = {**result.scores, **leaks.scores_without(result.predictions)}
    return dataclasses.replace(result, scores=scores, notes=(*result.notes, *leaks.lines()))
