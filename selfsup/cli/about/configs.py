"""``selfsup configs``: what can be named after ``selfsup train``."""

import argparse
import ast
from collections.abc import Sequence

from selfsup.config import config_names, find_config, plugin_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="show only names that hold every word")


def run(chosen: argparse.Namespace) -> int:
    """List the configs that can be trained by their name: the packaged ones, and those of installed plugins."""
    print_configs(chosen.words)
    return 0


def print_configs(words: Sequence[str] = ()) -> None:
    """Print those whose name holds every word, each with the first line of its docstring."""
    known = {**{name: find_config(name) for name in config_names()}, **plugin_configs()}
    names = [name for name in known if all(word in name for word in words)]
    width = max(map(len, names), default=0)
    for name in names:
        summary = ast.get_docstring(ast.parse(known[name].read_text(encoding="utf-8"))) or ""
        print(f"{name:<{width}}  {summary.partition(chr(10))[0]}".rstrip())
