"""Which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfsup.plots.canvas import FAINT, INK, new_figure, save

_MOST_NUMBERS = 25  # classes up to which each cell has its number
_CELL = 0.34  # inches


def draw_confusion(
    counts: np.ndarray, classes: Sequence[str], path: str | Path, *, title: str = "Which classes are taken for which"
) -> Path:
    """A row for each class that images have, a column for each that they are given; colors are shares of the row.

    Args:
        counts: images of each pair of classes, int (C, C).
        classes: names, in that order.
        path: PNG to write.
        title: heading.

    Returns:
        The path.

    Raises:
        OSError: if the picture cannot be written.
    """
    count = len(classes)
    names = [name if len(name) <= 24 else name[:23] + "…" for name in classes]
    cell = _CELL if count <= 60 else 20 / count
    label = 0.3 + 0.075 * max(map(len, names))
    side = cell * count
    width, height = max(label + side + 0.3, 5.5), 0.55 + side + label
    figure = new_figure(width, height, title=title)
    axes = figure.add_axes((label / width, label / height, side / width, side / height))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if count <= _MOST_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", size=7.5, color=color)
    size = 8 if count <= 60 else 4
    axes.set_xticks(range(count), names, rotation=90, size=size, color=INK)
    axes.set_yticks(range(count), names, size=size, color=INK)
    axes.set_xlabel("given", size=9, color=FAINT)
    axes.set_ylabel("is", size=9, color=FAINT)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return save(figure, path)
