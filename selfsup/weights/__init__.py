"""Files of weights: read safely, translated from other programs' names, loaded, written with a card, exported."""

from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.digest import fingerprint
from selfsup.weights.load import load_backbone, trained_backbone
from selfsup.weights.load_report import LoadReport
from selfsup.weights.rules.sources import SOURCES

__all__ = ["SOURCES", "Checkpoint", "LoadReport", "fingerprint", "load_backbone", "trained_backbone"]
