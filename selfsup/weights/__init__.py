"""Files of weights: read safely, translated from other programs' names, loaded, written with a card, exported."""

from selfsup.weights.account import Account, misfit
from selfsup.weights.families import Architecture, identify
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.bit import adapt
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.trained import trained_backbone
from selfsup.weights.translate import convert

__all__ = [
    "SOURCES",
    "Account",
    "Architecture",
    "adapt",
    "convert",
    "identify",
    "load_backbone",
    "misfit",
    "trained_backbone",
]
