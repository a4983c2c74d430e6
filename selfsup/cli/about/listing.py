"""``selfsup list``: what can be named in a config."""

import argparse
import inspect
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from selfsup.cli.about.show import ROLE
from selfsup.errors import Problem, RegistryError, nearest
from selfsup.plugins import provider_of
from selfsup.registry import KINDS, load_plugins, plugin_report

INHERITING = ("hooks", "optimizers", "schedules")
"""Kinds of which MMEngine's and PyTorch's own components work here too."""


class Row(NamedTuple):
    """One component: kind, name, who provided it, the first line of its docstring."""

    kind: str
    name: str
    origin: str
    summary: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="KIND",
        help=f"one of {', '.join(KINDS)}; all without it, or with a pattern such as 'Sim*'",
    )
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="part of a name, or a shell pattern such as 'Sim*'"
    )


def run(chosen: argparse.Namespace) -> int:
    """List the components that configs can name, with who provided each."""
    kind, pattern = chosen.kind, chosen.pattern
    if kind is not None and kind not in KINDS and not pattern and "*" in kind:
        kind, pattern = None, kind
    if kind is not None and kind not in KINDS:
        near = nearest(kind, KINDS, show=len(KINDS))
        if not pattern and not near.startswith("did"):
            near = _as_pattern(kind) or near
        right = f"{near}; `selfsup configs` lists the recipes"
        raise RegistryError.at("list", f"no kind is called {kind!r}", expected=right)
    broken = {plugin: error for plugin, error in load_plugins().items() if error is not None}
    kinds = list(KINDS) if kind is None else [kind]
    everything = [row for kind in kinds for row in rows_of(kind)]
    rows = [row for row in everything if matches(row.name, pattern)]
    if not rows:
        near = nearest(pattern, [row.name for row in everything])
        raise RegistryError(Problem("list", f"nothing is called {pattern!r}", expected=near), note=plugin_report(near))
    console = Console()
    if console.is_terminal:
        for kind in dict.fromkeys(row.kind for row in rows):
            console.print(_table(kind, [row for row in rows if row.kind == kind]))
    else:
        _print_plain(rows)
    for plugin, error in broken.items():
        Console(stderr=True, soft_wrap=True).print(
            f"plugin {plugin} could not be imported: {type(error).__name__}: {error}", markup=False, highlight=False
        )
    return 0


def rows_of(kind: str) -> list[Row]:
    """Every component of a kind, sorted by name; plugins must be imported already."""
    registry = KINDS[kind]
    rows = []
    for name in registry.names(inherited=kind in INHERITING):
        component = registry.get(name)
        summary = plain((inspect.getdoc(component) or "").partition("\n")[0])
        rows.append(Row(kind, name, provider_of(component).origin, summary))
    return rows


def plain(line: str) -> str:
    """A line of a docstring without the marks of roles and code."""
    return ROLE.sub(r"\1", line).replace("`", "")


def _as_pattern(word: str) -> str:
    """The end of a message about a word that is no kind, but with a star would find names; empty if it would not."""
    load_plugins()
    names = [row.name for kind in KINDS for row in rows_of(kind)]
    pattern = next((each for each in (f"{word}*", f"*{word}*") if any(matches(name, each) for name in names)), None)
    return f"for names write `selfsup list '{pattern}'`" if pattern else ""


def matches(name: str, pattern: str) -> bool:
    """Whether a name holds the pattern, or fits it as a shell pattern; case does not matter."""
    return fnmatch(name.lower(), pattern.lower()) or pattern.lower() in name.lower()


def _table(kind: str, rows: Iterable[Row]) -> Table:
    table = Table("name", "from", "what it is", title=kind, title_justify="left", expand=False)
    for row in rows:
        table.add_row(f"[bold]{row.name}[/bold]", row.origin, row.summary.replace("[", r"\["))
    return table


def _print_plain(rows: list[Row]) -> None:
    """A line per component in columns, for pipes."""
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        print(
            "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row.summary]).rstrip()
        )
