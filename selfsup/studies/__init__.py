"""Studies: a list of cells and a way to read their rows; nothing is trained here."""

from selfsup.studies.axes.advice import Advice
from selfsup.studies.axes.axis import AXES, Axis, Figure
from selfsup.studies.axes.capacity import Capacity
from selfsup.studies.axes.domain import Domain
from selfsup.studies.axes.granularity import GranularityAxis
from selfsup.studies.axes.grid import Grid, Pairs
from selfsup.studies.axes.quality import Quality
from selfsup.studies.axes.quantity import Quantity
from selfsup.studies.cells import Cell, Output, Work
from selfsup.studies.claims import Claim, Verdict, ahead, verdict
from selfsup.studies.load import load_study
from selfsup.studies.reading import read
from selfsup.studies.runner import Runner
from selfsup.studies.study import Study

__all__ = [
    "AXES",
    "Advice",
    "Axis",
    "Capacity",
    "Cell",
    "Claim",
    "Domain",
    "Figure",
    "GranularityAxis",
    "Grid",
    "Output",
    "Pairs",
    "Quality",
    "Quantity",
    "Runner",
    "Study",
    "Verdict",
    "Work",
    "ahead",
    "load_study",
    "read",
    "verdict",
]
