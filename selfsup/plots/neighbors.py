"""A query and its nearest images: what a network finds alike, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsup.plots.canvas import COLORS, FAINT, INK, image_axes, new_figure, save
from selfsup.plots.sheets import GAP, MARGIN

SIDE, CAPTION, HEAD = 0.95, 0.19, 0.72  # inches


@dataclass(frozen=True)
class NeighborRow:
    """An image and what is nearest to it.

    Args:
        query: uint8 (H, W, 3).
        neighbors: images, nearest first.
        similarities: cosine of each with the query.
        caption: under the query; cut where it is longer than the image is wide.
        alike: whether each has the query's label, which frames it; None without labels.
    """

    query: np.ndarray
    neighbors: Sequence[np.ndarray]
    similarities: Sequence[float]
    caption: str = ""
    alike: Sequence[bool] | None = None


def draw_neighbors(
    rows: Sequence[NeighborRow],
    path: str | Path,
    *,
    title: str = "What the network finds alike: an image and its nearest",
    summary: str = "",
) -> Path:
    """A row for each query: the image, then its nearest, with the cosine of their features below.

    Args:
        rows: at least one.
        path: PNG to write.
        title: heading.
        summary: a line below it.

    Returns:
        The path.

    Raises:
        ValueError: if there are no rows.
        OSError: if the picture cannot be written.
    """
    if not rows:
        raise ValueError("draw_neighbors: needs one query at least, got none")
    columns = max(len(row.neighbors) for row in rows)
    first = MARGIN + SIDE + 3 * GAP
    width = max(first + columns * (SIDE + GAP) + MARGIN, 6.2)
    figure = new_figure(width, HEAD + len(rows) * (SIDE + CAPTION + GAP) + MARGIN, title=title)
    height = figure.get_size_inches()[1]
    if any(row.alike is not None for row in rows):
        summary = f"{summary}; framed: of the same class".removeprefix("; ")
    figure.text(MARGIN / width, 1 - 0.44 / height, summary, va="top", size=9, color=FAINT)
    for number, row in enumerate(rows):
        top = HEAD + number * (SIDE + CAPTION + GAP)
        below = 1 - (top + SIDE + 0.04) / height
        image_axes(figure, row.query, MARGIN, top, SIDE, frame=INK)
        shown = row.caption if len(row.caption) <= 17 else f"…{row.caption[-16:]}"
        figure.text((MARGIN + SIDE / 2) / width, below, shown, ha="center", va="top", size=7, color=INK)
        for column, (image, similarity) in enumerate(zip(row.neighbors, row.similarities, strict=True)):
            left = first + column * (SIDE + GAP)
            alike = row.alike is not None and row.alike[column]
            image_axes(figure, image, left, top, SIDE, frame=COLORS[2] if alike else None)
            figure.text(
                (left + SIDE / 2) / width, below, f"{similarity:.2f}", ha="center", va="top", size=7, color=FAINT
            )
    return save(figure, path)
