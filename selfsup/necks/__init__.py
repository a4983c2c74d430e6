"""What sits between a backbone and a loss."""

from selfsup.necks.hidden_layers import HiddenLayers
from selfsup.necks.identity import Identity
from selfsup.necks.projection import ProjectionNeck
from selfsup.necks.prototypes import Prototypes

__all__ = ["HiddenLayers", "Identity", "ProjectionNeck", "Prototypes"]
