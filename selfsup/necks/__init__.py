"""What sits between a backbone and a loss."""

from selfsup.necks.projection import ProjectionNeck
from selfsup.necks.prototypes import Prototypes

__all__ = ["ProjectionNeck", "Prototypes"]
