"""Weights that others wrote, under our names, and ours under theirs."""

from selfsup.convert.account import Account, misfit
from selfsup.convert.architecture import Architecture, identify
from selfsup.convert.backbone import convert
from selfsup.convert.bit import adapt
from selfsup.convert.sources import SOURCES

__all__ = ["SOURCES", "Account", "Architecture", "adapt", "convert", "identify", "misfit"]
