"""Scores with their intervals, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from selfsup.plots.canvas import COLORS, FAINT, GRID, INK, new_figure, save

_COLUMNS = 3
_WIDTH, _ROW, _HEAD, _GAP = 3.3, 0.26, 0.62, 0.5  # inches
_LEFT = 0.3


def draw_comparison(
    panels: Mapping[str, Mapping[str, tuple[float, float | None, float | None]]],
    path: str | Path,
    *,
    names: Sequence[str],
    title: str = "Scores in % with 95 % intervals",
) -> Path:
    """A panel for each score: a point and its interval for each representation.

    Args:
        panels: by score, then by representation: value, lower and upper end (None where there is no interval).
        path: PNG to write.
        names: of the representations, in the order of the rows.
        title: heading.

    Returns:
        The path.

    Raises:
        ValueError: if there are no panels.
        OSError: if the picture cannot be written.
    """
    if not panels:
        raise ValueError("draw_comparison: needs one score at least, got none")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    label_width = _LEFT + 0.082 * max(map(len, names))
    panel_height = _ROW * len(names) + 0.15
    width = label_width + columns * (_WIDTH + 0.25)
    height = _HEAD + rows * (panel_height + _GAP + 0.25)
    figure = new_figure(width, height, title=title)
    for number, (score, found) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        left = label_width + column * (_WIDTH + 0.25)
        top = _HEAD + row * (panel_height + _GAP + 0.25) + 0.2
        axes = figure.add_axes((left / width, 1 - (top + panel_height) / height, _WIDTH / width, panel_height / height))
        axes.set_title(score, loc="left", size=9.5, color=INK)
        for place, name in enumerate(names):
            if name not in found:
                continue
            value, low, high = found[name]
            color = COLORS[place % len(COLORS)]
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
            axes.plot([value], [place], "o", color=color, markersize=5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), list(names) if column == 0 else [""] * len(names), size=9, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if all(-1 <= value <= 1 for value, *_ in found.values()):
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}")
        axes.tick_params(labelsize=8.5, colors=FAINT, length=0)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(GRID)
    return save(figure, path)
