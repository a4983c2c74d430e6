"""Pictures: arrays and tables in, files out."""

from selfsup.plots.curves import draw_curves
from selfsup.plots.embedding import draw_embedding_map
from selfsup.plots.sheets import draw_prototypes, draw_view_sheet

__all__ = ["draw_curves", "draw_embedding_map", "draw_prototypes", "draw_view_sheet"]
