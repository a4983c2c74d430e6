"""``selfsup configs``: what can be named after ``selfsup train``."""

import argparse
import ast

from selfsup.config import config_names, find_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="show only names that hold every word")


def run(chosen: argparse.Namespace) -> int:
    """List the packaged configs."""
    names = [name for name in config_names() if all(word in name for word in chosen.words)]
    width = max(map(len, names), default=0)
    for name in names:
        summary = ast.get_docstring(ast.parse(find_config(name).read_text(encoding="utf-8"))) or ""
        print(f"{name:<{width}}  {summary.partition(chr(10))[0]}".rstrip())
    return 0
