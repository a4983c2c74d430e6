"""The ``selfsup`` command: hands over to a verb, and turns what the user did wrong into one clear message."""

import argparse
import io
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

import selfsup
from selfsup.errors import SelfsupError, did_you_mean

VERBS = {
    "train": "runs.train",
    "test": "runs.test",
    "demo": "runs.demo",
    "configs": "about.configs",
    "convert": "models.convert",
    "export": "models.export",
    "consolidate": "models.consolidate",
    "evaluate": "models.evaluate",
    "compare": "models.compare",
    "embed": "models.embed",
    "transfer": "runs.transfer",
    "predict": "models.predict",
    "similar": "models.similar",
    "study": "runs.study",
    "advise": "runs.advise",
    "shard": "runs.shard",
    "data-report": "about.data_report",
    "plan": "about.plan",
    "doctor": "about.doctor",
    "list": "about.listing",
    "show": "about.show",
    "new-plugin": "about.new_plugin",
}
"""The module of each; imported once the command runs, for that takes seconds in which Ctrl-C may be pressed."""

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class Parser(argparse.ArgumentParser):
    """Answers a word that is no choice with the nearest one, as every other message here does."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave, as argparse does."""
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        near = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else ""
        super().error(message + near if near.startswith("; did") else message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the words after ``selfsup``; None takes them from the command line.

    Returns:
        The exit code: 0, 2 after an error of the user's, 130 after Ctrl-C.
    """
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal without UTF-8 lacks is '?', or spelled out in errors
            stream.reconfigure(errors=errors)
    os.environ.pop("MPLBACKEND", None)  # pictures go to files; a name that is inherited may not exist here
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("\nstopped before anything was trained or written", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    began = time.monotonic()  # before the imports, which a budget of minutes has to pay for
    verb_of = {name: import_module(f"selfsup.cli.{module}") for name, module in VERBS.items()}
    parser = Parser(prog="selfsup", description="Self-supervised learning of visual representations.")
    parser.add_argument("--version", action="version", version=f"selfsup {selfsup.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in verb_of.items():
        summary = (verb.run.__doc__ or "").splitlines()[0]
        verb.add_arguments(verbs.add_parser(name, help=summary, description=summary))
    chosen = parser.parse_args(arguments)
    chosen.began = began
    return explained(verb_of[chosen.verb].run, chosen)


def run_tool(name: str, arguments: Sequence[str] | None = None) -> int:
    """One verb as a script of its own: ``tools/train.py CONFIG`` is ``selfsup train CONFIG``."""
    return main([name, *(sys.argv[1:] if arguments is None else arguments)])


def explained(run: Callable[[argparse.Namespace], int], chosen: argparse.Namespace) -> int:
    """Run, and print an error of the user's as its message alone; any other exception keeps its traceback."""
    try:
        return run(chosen)
    except SelfsupError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:  # `selfsup configs | head`
        sys.stderr.close()
        return 0
