"""Pictures of what a detector finds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from selfsup.plots.canvas import COLORS, class_name, image_axes, new_figure, save

_SIDE, _GAP, _TOP = 2.6, 0.12, 0.5  # inches


def draw_detections(
    images: Sequence[np.ndarray],
    found: Sequence[Any],
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    threshold: float = 0.5,
    columns: int = 4,
    title: str = "detections",
) -> Path:
    """Images with the boxes, masks, classes and scores of what was found in them.

    Args:
        images: uint8 (H, W, 3) each.
        found: of each image ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,) and ``masks`` (N, H, W) or None.
        path: of the PNG.
        classes: names in label order.
        threshold: what has a lower score is not drawn.
        columns: images in a row.
        title: heading.

    Returns:
        The path.
    """
    rows = -(-len(images) // columns)
    figure = new_figure(columns * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _GAP) + _TOP, title=title)
    for number, (image, each) in enumerate(zip(images, found, strict=True)):
        row, column = divmod(number, columns)
        kept = np.flatnonzero(each.scores >= threshold)
        colors = {one: COLORS[place % 10] for place, one in enumerate(kept.tolist())}
        shown = image
        for one, color in colors.items() if each.masks is not None else ():
            shown = _tinted(shown, each.masks[one] > 0, color)
        axes = image_axes(figure, shown, _GAP + column * (_SIDE + _GAP), _TOP + row * (_SIDE + _GAP), _SIDE)
        for one, color in colors.items():
            left, top, right, bottom = (each.boxes[one] - 0.5).tolist()  # matplotlib's pixels have their middle at 0
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=1.4))
            name = "" if classes is None or len(classes) == 1 else f"{class_name(list(classes), each.labels[one])} "
            said = f"{name}{each.scores[one]:.2f}"
            box = {"facecolor": color, "edgecolor": "none", "pad": 0.8}
            axes.text(left, top, said, size=6, color="white", va="bottom", bbox=box, clip_on=True)
    return save(figure, path)


def _tinted(image: np.ndarray, mask: np.ndarray, color: str) -> np.ndarray:
    changed = image.copy()
    rgb = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)])
    changed[mask] = (0.5 * image[mask] + 0.5 * rgb).astype(np.uint8)
    return changed
