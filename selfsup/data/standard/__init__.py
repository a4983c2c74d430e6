"""The data sets that papers evaluate on: where they come from, how they lie on disk, what must be in them."""

from selfsup.data.standard.sets import SETS, StandardSet
from selfsup.data.standard.source import Standard

__all__ = ["SETS", "Standard", "StandardSet"]
