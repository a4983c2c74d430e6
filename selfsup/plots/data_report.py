"""Pictures of a report on images: how large they are, and which of them show the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from selfsup.plots.canvas import COLORS, FAINT, INK, image_axes, new_figure, save

_SIDE, _GAP, _HEAD = 1.2, 0.16, 0.62
_MARGIN = 0.16
_LONGEST = 24  # characters below an image


def draw_groups(
    groups: Sequence[Sequence[tuple[np.ndarray, str]]], path: str | Path, *, title: str, most: int = 6
) -> Path:
    """A row for each group of images that show the same.

    Args:
        groups: of each its images, uint8 (H, W, 3), with their names.
        path: PNG to write.
        title: heading.
        most: images of a group that are shown; how many more there are is said.

    Returns:
        The path.

    Raises:
        ValueError: if there are no groups.
        OSError: if the picture cannot be written.
    """
    if not groups:
        raise ValueError("draw_groups: needs one group at least, got none")
    columns = min(most, max(map(len, groups)))
    width = max(6.2, 2 * _MARGIN + columns * (_SIDE + _GAP) + 0.6)
    step = _SIDE + 0.34
    figure = new_figure(width, _HEAD + len(groups) * step, title=title)
    height = figure.get_size_inches()[1]
    for number, group in enumerate(groups):
        top = _HEAD + number * step
        for column, (image, name) in enumerate(group[:most]):
            left = _MARGIN + column * (_SIDE + _GAP)
            image_axes(figure, image, left, top, _SIDE)
            cut = name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]
            figure.text(
                (left + _SIDE / 2) / width, 1 - (top + _SIDE + 0.1) / height, cut, ha="center", size=6.5, color=INK
            )
        if len(group) > most:
            left, middle = _MARGIN + most * (_SIDE + _GAP), top + _SIDE / 2
            figure.text(left / width, 1 - middle / height, f"+{len(group) - most:,}", size=10, color=FAINT)
    return save(figure, path)


def draw_counts(histograms: Mapping[str, Mapping[str, int]], path: str | Path, *, title: str) -> Path:
    """Bars side by side: how many images are of which kind.

    Args:
        histograms: by heading, the counts by label.
        path: PNG to write.
        title: heading of all.

    Returns:
        The path.

    Raises:
        OSError: if the picture cannot be written.
    """
    figure = new_figure(9.4, 3.9, title=title)
    for number, (heading, counts) in enumerate(histograms.items()):
        axes = figure.add_axes((0.12 + number * 0.49, 0.12, 0.35, 0.66))
        places = np.arange(len(counts))[::-1]
        axes.barh(places, list(counts.values()), color=COLORS[0], height=0.72)
        axes.set_yticks(places, list(counts), fontsize=8)
        axes.set_title(heading, fontsize=9.5, color=INK, loc="left")
        axes.tick_params(axis="x", labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return save(figure, path)
