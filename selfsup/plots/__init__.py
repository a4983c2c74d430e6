"""Pictures: arrays and tables in, files out. Matplotlib is an extra, without which there are none."""

import importlib.util

CAN_DRAW = importlib.util.find_spec("matplotlib") is not None
NOT_DRAWN = "not drawn, matplotlib is not installed (pip install 'selfsup[report]')"

if CAN_DRAW:
    from selfsup.plots.comparison import draw_comparison
    from selfsup.plots.confusion import draw_confusion
    from selfsup.plots.curves import draw_curves
    from selfsup.plots.detections import draw_detections
    from selfsup.plots.embedding import draw_embedding_map
    from selfsup.plots.sheets import draw_mistakes, draw_prototypes, draw_view_sheet

__all__ = [
    "CAN_DRAW",
    "NOT_DRAWN",
    "draw_comparison",
    "draw_confusion",
    "draw_curves",
    "draw_detections",
    "draw_embedding_map",
    "draw_mistakes",
    "draw_prototypes",
    "draw_view_sheet",
]
