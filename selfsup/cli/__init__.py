"""The command line: ``selfsup train``, ``selfsup test``, ``selfsup configs``."""

from selfsup.cli.main import main

__all__ = ["main"]
