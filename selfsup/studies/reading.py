"""Reading a study: one tidy table, figures with published numbers beside, and a page of plain words."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.evaluation.scores import student_quantile
from selfsup.planning.budget import clock
from selfsup.studies.axes.axis import Figure
from selfsup.studies.cells import Cell, Output, output_of, state_of
from selfsup.studies.claims import Verdict, verdict
from selfsup.studies.forecast import promised
from selfsup.studies.runner import finished
from selfsup.studies.study import Study

TABLE, PAGE = "table.csv", "page.md"
_FIRST = ("study", "cell", "seed")
_LAST = ("evaluator", "metric", "value", "low", "high", "n", "spread", "predicted", "seconds", "identity")


def tidy(study: Study, root: Path) -> list[dict[str, Any]]:
    """A row for each finished cell and score: where it stands on each axis, the score, its interval."""
    rows = []
    expected = promised(root)
    for cell, output in finished(study, root):
        about = {"study": study.name, "cell": cell.name, "seed": cell.seed, **cell.factors}
        for name, score in output.kept.get("scores", {}).items():
            evaluator, _, metric = name.partition("/")
            rows.append(
                {
                    **about,
                    "evaluator": evaluator,
                    "metric": metric,
                    **score,
                    "predicted": expected.get(cell.identity),
                    "seconds": output.seconds,
                    "identity": cell.identity,
                }
            )
    return rows


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    """Write a table as CSV, and as parquet beside it where pyarrow is installed."""
    factors = dict.fromkeys(key for row in rows for key in row if key not in (*_FIRST, *_LAST))
    columns = [*_FIRST, *factors, *_LAST]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return [path]
    parquet = path.with_suffix(".parquet")
    pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in columns}), parquet)
    return [path, parquet]


def of_axis(axis: Any, study: Study, root: Path) -> list[tuple[Cell, Output]]:
    """The finished cells of one axis, with its own factors, and what they have left.

    A cell that several seeds or axes have in common is done once, under the name that comes first.
    """
    first = {cell.identity: cell for cell in study.cells()}
    cells = {(cell.identity, cell.name): cell for seed in study.seeds for cell in study.of_axis(axis, seed)}
    return [
        (cell, output_of(first[cell.identity], root))
        for cell in cells.values()
        if state_of(first[cell.identity].folder(root)) == "done"
    ]


def read(study: Study, root: Path) -> list[Path]:
    """Write the table, the figures and the page of what is finished so far.

    Returns:
        The files.
    """
    rows = tidy(study, root)
    paths = write_table(rows, root / TABLE)
    verdicts: list[Verdict] = []
    drawn: list[Path] = []
    sources: list[str] = []
    theirs: list[str] = []
    for axis in study.axes:
        cells = of_axis(axis, study, root)
        verdicts += [verdict(claim, cells) for claim in axis.claims()]
        for figure in axis.figures():
            taken = sum(path.stem.startswith(figure.name) for path in drawn)
            own = dataclasses.replace(figure, name=f"{figure.name}_{taken + 1}") if taken else figure
            if (path := draw(own, cells, root)) is not None:
                drawn.append(path)
                sources += [figure.source] if figure.published else []
                theirs += beside(figure, cells)
    page = root / PAGE
    page.write_text(page_of(study, root, verdicts, drawn, sources, theirs), encoding="utf-8")
    return [page, *paths, *drawn]


def page_of(
    study: Study,
    root: Path,
    verdicts: Sequence[Verdict],
    drawn: Sequence[Path] = (),
    sources: Sequence[str] = (),
    theirs: Sequence[str] = (),
) -> str:
    """What holds, with which interval, and what cannot be told, in Markdown."""
    states = [state_of(cell.folder(root)) for cell in study.cells()]
    lines = [f"# {study.name}", "", *([study.question, ""] if study.question else [])]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    lines += [f"{len(states)} cells: {counts}. Planned repetitions: {len(study.seeds)}.", ""]
    for word, heading in (
        ("holds", "What holds"),
        ("the opposite holds", "Where the opposite holds"),
        ("cannot tell", "What cannot be told"),
        ("not measured", "What is not measured yet"),
    ):
        here = [each for each in verdicts if each.word == word]
        if here:
            lines += [f"## {heading}", "", *(f"- {each.words()}" for each in here), ""]
    for path in drawn:
        lines += [f"![{path.stem}]({path.name})", ""]
    if sources:
        lines += [f"Reported numbers are not ours: {'; '.join(dict.fromkeys(sources))}.", ""]
        lines += ["| | reported, % | ours, % |", "|---|---|---|", *theirs, ""]
    lines += [
        *_times(study, root),
        "## How to read it",
        "",
        "Differences are in points of accuracy on the same test images. An interval joins the spread over seeds with "
        "that over the test images, which all seeds share. A claim *holds* where its interval lies "
        "above zero; where it contains zero, these runs *cannot tell*. There are "
        f"{len(verdicts)} claims, each at 95 %: of those that are not true, one in forty is expected to look as if it "
        f"held. All scores are in {TABLE}.",
        "",
    ]
    return "\n".join(lines)


def _times(study: Study, root: Path) -> list[str]:
    """What was predicted before the first cell, beside what the cells have taken, by kind of work."""
    expected = promised(root)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for cell, output in finished(study, root):
        if cell.identity in expected:
            kind = type(cell.work).__name__.lower()
            pairs.setdefault(kind, []).append((expected[cell.identity], output.seconds))
    if not pairs:
        return []
    pairs["all"] = [pair for each in pairs.values() for pair in each]
    lines = ["## Time", "", "| | cells | predicted | taken | taken / predicted |", "|---|---|---|---|---|"]
    for kind, each in pairs.items():
        first, then = (sum(column) for column in zip(*each, strict=True))
        lines.append(f"| {kind} | {len(each)} | {clock(first)} | {clock(then)} | {then / first:.2f} |")
    return [*lines, ""]


def points(figure: Figure, cells: Sequence[tuple[Cell, Output]]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """What a figure shows: by series, then by place on the horizontal axis: value, low and high.

    The interval is over seeds where there are several, and otherwise that of the test images.
    """
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for cell, output in cells:
        scores = output.kept.get("scores", {})
        if not all(cell.factors.get(name) == value for name, value in figure.where.items()):
            continue
        if not all(name in cell.factors for name in figure.series):
            continue
        series = ", ".join(str(cell.factors[name]) for name in figure.series)
        names = [name for name in figure.scores if name in scores]
        if figure.x == "score":
            for name in names:
                found.setdefault(series, {}).setdefault(name.rpartition("/")[2], []).append(scores[name])
        elif names and figure.x in cell.factors:
            found.setdefault(series, {}).setdefault(str(cell.factors[figure.x]), []).append(scores[names[0]])
    return {series: {x: _interval(each) for x, each in places.items()} for series, places in found.items()}


def _interval(scores: Sequence[Mapping[str, Any]]) -> tuple[float, float | None, float | None]:
    values = np.array([score["value"] for score in scores])
    if len(values) == 1:
        return float(values[0]), scores[0].get("low"), scores[0].get("high")
    half = student_quantile(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    mean = float(values.mean())
    return mean, mean - half, mean + half


def draw(figure: Figure, cells: Sequence[tuple[Cell, Output]], root: Path) -> Path | None:
    """Draw a figure; None if there is nothing to show yet, or matplotlib is missing."""
    found = points(figure, cells)
    if not found:
        return None
    from selfsup.plots import CAN_DRAW

    if not CAN_DRAW:
        return None
    from selfsup.plots.study import draw_lines, draw_matrix

    path, published = root / f"{figure.name}.png", reported(figure)
    if figure.kind == "matrix":
        down = ", ".join(figure.series)
        return draw_matrix(found, path, title=figure.title, across=figure.x, down=down, published=published)
    return draw_lines(found, path, title=figure.title, across=figure.x, published=published, order=figure.order)


def reported(figure: Figure) -> dict[str, dict[str, float]]:
    """What a paper reports, by series and place."""
    published: dict[str, dict[str, float]] = {}
    for each in figure.published:
        published.setdefault(str(each["series"]), {})[str(each["x"])] = float(each["value"])
    return published


def beside(figure: Figure, cells: Sequence[tuple[Cell, Output]]) -> list[str]:
    """A line of a table for each number that a paper reports: where, reported, ours."""
    ours = points(figure, cells)
    lines = []
    for series, places in reported(figure).items():
        for place, value in places.items():
            own = ours.get(series, {}).get(place)
            shown = "" if own is None else f"{100 * own[0]:.1f}"
            lines.append(f"| {', '.join(filter(None, (series, place)))} | {100 * value:.1f} | {shown} |")
    return lines
