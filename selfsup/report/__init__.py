"""Pictures of a run."""

from selfsup.report.curves import draw_curves
from selfsup.report.embedding import draw_embedding_map
from selfsup.report.hook import PictureHook
from selfsup.report.sheets import draw_prototypes, draw_view_sheet

__all__ = ["PictureHook", "draw_curves", "draw_embedding_map", "draw_prototypes", "draw_view_sheet"]
