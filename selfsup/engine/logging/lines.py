"""Where a run's lines go: to the terminal, and to a file of each process."""

import contextlib
import logging
import sys
from pathlib import Path

from rich.logging import RichHandler

from selfsup.ops.files import reason


class _LogFile(logging.FileHandler):
    """A file of lines; a full disk is reported once, where logging itself reports it for each line."""

    _reported = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._reported:
            self._reported = True
            with contextlib.suppress(OSError):  # it may be the same disk
                cause = reason(error, Path(self.baseFilename))
                print(f"{self.baseFilename}: could not be written ({cause}); the run continues", file=sys.stderr)


def open_log(name: str, *, level: int | str, file: str | Path, to_terminal: bool) -> logging.Logger:
    """A logger of its own.

    Args:
        name: of the logger.
        level: of the lines to keep.
        file: takes every line, as long as there is room for it.
        to_terminal: whether lines are shown as well.
    """
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate = False
    to_file = _LogFile(file, encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(to_file)
    if to_terminal:
        terminal = _terminal()
        terminal.setLevel(level)
        terminal.addFilter(lambda record: not record.getMessage().startswith("Hooks will be executed"))
        logger.addHandler(terminal)
    return logger


def _terminal() -> logging.Handler:
    """Lines that fit a terminal; anywhere else each message is one line, whole, to be searched and copied."""
    if sys.stdout.isatty():
        return RichHandler(show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    plain = logging.StreamHandler(sys.stdout)
    plain.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    return plain
