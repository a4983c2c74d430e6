"""Where a run's lines go: to the terminal, and to a file of each process."""

import io
import logging
import sys
from pathlib import Path

from rich.logging import RichHandler


def open_log(name: str, *, level: int | str, file: str | Path, to_terminal: bool) -> logging.Logger:
    """A logger of its own, whose lines go to a file, and to the terminal if asked for."""
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate = False
    to_file = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    to_file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk: the run says it itself
    logger.addHandler(to_file)
    if to_terminal:
        terminal = _terminal()
        terminal.setLevel(level)
        terminal.addFilter(lambda record: not record.getMessage().startswith("Hooks will be executed"))
        logger.addHandler(terminal)
    return logger


def _terminal() -> logging.Handler:
    """Lines that fit a terminal; anywhere else each message is one line, whole, to be searched and copied."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # without UTF-8 there are signs that it cannot show
    if sys.stdout.isatty():
        return RichHandler(show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    plain = logging.StreamHandler(sys.stdout)
    plain.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    return plain
