"""Methods: a backbone, a neck, a loss, and the state their paper needs."""

from selfsup.methods.base import Method, Progress
from selfsup.methods.multi_view import forward_by_size
from selfsup.methods.simclr import SimCLR
from selfsup.methods.swav import SwAV

__all__ = ["Method", "Progress", "SimCLR", "SwAV", "forward_by_size"]
