"""The command line: ``selfsup VERB``, with the verbs of ``selfsup --help``."""

from selfsup.cli.main import main

__all__ = ["main"]
