"""Studies: a list of cells and a way to read their rows; nothing is trained here."""

from selfsup.studies.cells import Cell, Output, Work
from selfsup.studies.runner import Runner
from selfsup.studies.study import Study

__all__ = ["Cell", "Output", "Runner", "Study", "Work"]
