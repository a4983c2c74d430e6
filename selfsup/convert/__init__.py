"""Weights that others wrote, under our names, and ours under theirs."""

from selfsup.convert.account import Account
from selfsup.convert.architecture import Architecture, identify
from selfsup.convert.backbone import convert
from selfsup.convert.sources import SOURCES

__all__ = ["SOURCES", "Account", "Architecture", "convert", "identify"]
