"""``selfsup compare``: rows of several evaluations side by side, with intervals and a paired test."""

import argparse
import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfsup.errors import ConfigError, nearest

_NO_BREAK = "\N{NO-BREAK SPACE}"
_WIDTH = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("places", nargs="+", metavar="RESULTS", help="work dirs, or files of rows (results.jsonl)")
    parser.add_argument("--task", help="only this task")
    parser.add_argument("--of", nargs="+", metavar="NAME", help="only these representations, as the table calls them")
    parser.add_argument("--all", action="store_true", help="every score, not only the one that counts of each protocol")
    parser.add_argument(
        "--by", choices=("class", "taxon"), help="also how far two representations are apart on each class or taxon"
    )
    parser.add_argument("--hierarchy", metavar="FILE", help="of the classes, as a CSV file; for --by taxon")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table as Markdown")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write the scores with their intervals as CSV")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the scores with their intervals (PNG)")


def run(chosen: argparse.Namespace) -> int:
    """Show scores that may be compared side by side, and say who is ahead."""
    from selfsup.evaluation.comparison import comparable, difference, main_scores, names_of, read_entries

    entries = read_entries(chosen.places)
    lines = [line for line in comparable(entries) if chosen.task in (None, line.task)]
    if not lines:
        tasks = sorted({entry.row.task["name"] for entry in entries})
        raise ConfigError.at(
            "--task", "no row is of this task", got=chosen.task, expected=f"there is {', '.join(tasks)}"
        )
    lines = lines if chosen.all else main_scores(lines)
    names = _named(chosen, list(dict.fromkeys(names_of(entries).values())))
    baselines = {name for name in names if _is_baseline(name, entries)}
    console = wide_console()
    console.print(shown_table(lines, names))
    _write(chosen, lines, names, console)
    for line in lines:
        for first, second in itertools.combinations([name for name in names if name in line.values], 2):
            if len(names) > 2 and {first, second} <= baselines:
                continue
            if (found := difference(line, first, second)) is not None:
                text = told(line, found, first, second, several=len(names) > 2)
                console.print(text, soft_wrap=True, highlight=False)
    if chosen.by is not None:
        _print_by(chosen, lines, [name for name in names if len(names) == 2 or name not in baselines], console)
    return 0


def wide_console() -> Console:
    """As wide as the terminal; wide enough for tables where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _WIDTH))


def told(line: Any, found: Any, first: str, second: str, *, several: bool) -> str:
    """Who is ahead, and of whom where there are several."""
    pair = f", {first} and {second}" if several else ""
    return f"{line.title}{pair}: {found.words(first, second)}"


def _named(chosen: argparse.Namespace, names: list[str]) -> list[str]:
    for name in chosen.of or ():
        if name not in names:
            raise ConfigError.at("--of", "no representation is called so", got=name, expected=nearest(name, names))
    return [name for name in names if chosen.of is None or name in chosen.of]


def _is_baseline(name: str, entries: Sequence[Any]) -> bool:
    from selfsup.evaluation.comparison import names_of

    names = names_of(entries)
    return any(
        entry.row.representation.get("baseline")
        for entry in entries
        if names[entry.row.representation["fingerprint"]] == name
    )


def _shown(score: Any) -> str:
    if score is None:
        return ""
    if score.low is None or score.high is None:
        return _number(score.value)
    return f"{_number(score.value)} [{_number(score.low)},{_NO_BREAK}{_number(score.high)}]"


def _number(value: float) -> str:
    return f"{100 * value:.1f}" if -1 <= value <= 1 else f"{value:.4g}"


def shown_table(lines: Sequence[Any], names: Sequence[str]) -> Table:
    """A row for each score, a column for each representation."""
    table = Table(title="scores in % with 95 % intervals")
    table.add_column("task, protocol and score", overflow="fold")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for line in lines:
        table.add_row(line.title, *(_shown(line.values.get(name)) for name in names))
    return table


def _write(chosen: argparse.Namespace, lines: Sequence[Any], names: Sequence[str], console: Console) -> None:
    if chosen.markdown is not None:
        head = ["task, protocol and score (% with 95 % interval)", *names]
        rows = [[line.title, *(_shown(line.values.get(name)) for name in names)] for line in lines]
        text = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---", *["--:"] * len(names)], *rows))
        chosen.markdown.write_text(text + "\n", encoding="utf-8")
        console.print(f"written to {chosen.markdown}")
    if chosen.csv is not None:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("task", "evaluator", "protocol", "score", "representation", "value", "low", "high", "n"))
            for line in lines:
                about = (line.task, line.evaluator, line.protocol, line.score)
                for name, score in line.values.items():
                    writer.writerow((*about, name, score.value, score.low, score.high, score.n))
        console.print(f"written to {chosen.csv}")
    if chosen.plot is not None:
        from selfsup.plots import CAN_DRAW, NOT_DRAWN

        if not CAN_DRAW:
            raise ConfigError.at("--plot", NOT_DRAWN)
        from selfsup.plots import draw_comparison

        panels = {
            line.title: {name: (score.value, score.low, score.high) for name, score in line.values.items()}
            for line in lines
        }
        console.print(f"written to {draw_comparison(panels, chosen.plot, names=names)}")


def _print_by(chosen: argparse.Namespace, lines: Sequence[Any], names: Sequence[str], console: Console) -> None:
    """How far two representations are apart on each class or taxon, those with clear differences first."""
    from selfsup.evaluation.comparison import differences_by

    if len(names) != 2:
        raise ConfigError.at(
            "--by", "needs two representations", got=len(names), expected=f"--of NAME NAME, of {', '.join(names)}"
        )
    shown: set[tuple[str, str, str]] = set()  # a class has one accuracy, whichever scores are asked for
    for line in (line for line in lines if line.score in ("top1", "per_class")):
        if not set(names) <= set(line.values) or (line.task, line.evaluator, line.same) in shown:
            continue
        shown.add((line.task, line.evaluator, line.same))
        found = differences_by(line, names[0], names[1], taxa=_taxa(chosen, line))
        table = Table(title=f"{line.title}: how far {names[1]} is ahead of {names[0]}, by {chosen.by}")
        for column in (chosen.by, "points", "95 %", "images"):
            table.add_column(column, justify="left" if column == chosen.by else "right")
        for name, each in sorted(found.items(), key=lambda item: (not item[1].clear, -item[1].value)):
            interval = (
                "" if each.low is None or each.high is None else f"{100 * each.low:+.1f} to {100 * each.high:+.1f}"
            )
            table.add_row(name, f"{100 * each.value:+.1f}", interval, str(each.n), style="bold" if each.clear else None)
        console.print(table)


def _taxa(chosen: argparse.Namespace, line: Any) -> list[str] | None:
    if chosen.by == "class":
        return None
    from selfsup.data.hierarchy import Hierarchy
    from selfsup.evaluation.comparison import predictions_of_entry

    if chosen.hierarchy is None:
        raise ConfigError.at("--hierarchy", "needed for --by taxon: a CSV file of the classes and what they belong to")
    hierarchy = Hierarchy.from_csv(chosen.hierarchy)
    found = predictions_of_entry(next(iter(line.entries.values())))
    if found is None:
        return None
    hierarchy.check(found.class_names, "--hierarchy")
    return hierarchy.taxa(hierarchy.levels[-1], found.class_names)
