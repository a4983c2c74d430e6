"""What a study found: scores over one factor, or over two as a matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from selfsup.plots.canvas import COLORS, FAINT, GRID, INK, new_figure, save

Points = Mapping[str, Mapping[str, tuple[float, float | None, float | None]]]
_LEFT, _TOP, _BOTTOM, _HEIGHT = 0.75, 0.6, 0.65, 3.2  # inches
_CHARACTER = 0.075


def draw_lines(
    series: Points,
    path: str | Path,
    *,
    title: str,
    across: str,
    published: Mapping[str, Mapping[str, float]] | None = None,
    order: Sequence[str] = (),
) -> Path:
    """Scores over a factor with their intervals, a line for each series; published numbers as open diamonds.

    Args:
        series: by name, then by place along the horizontal axis: value, lower and upper end, in [0, 1].
        path: PNG to write; an SVG is written beside it.
        title: heading.
        across: what the horizontal axis shows.
        published: likewise, values alone; places that ours lack are added behind.
        order: of places; others follow as they come.

    Returns:
        The path.

    Raises:
        ValueError: if there is no series.
        OSError: if the picture cannot be written.
    """
    if not series:
        raise ValueError("draw_lines: needs one series at least, got none")
    reported = {f"{name} (reported)": values for name, values in (published or {}).items()}
    both: list[Mapping[str, object]] = [*series.values(), *reported.values()]
    places = list(dict.fromkeys(place for values in both for place in values))
    places.sort(key=lambda place: order.index(place) if place in order else len(order))
    longest = max(map(len, [*series, *reported]))
    legend = 0.45 + _CHARACTER * longest if longest else 0.2
    body = max(3.0, _step(places, 0.9) * len(places))
    width, height = _LEFT + body + legend, _TOP + _HEIGHT + _BOTTOM
    figure = new_figure(width, height, title=title)
    axes = figure.add_axes((_LEFT / width, _BOTTOM / height, body / width, _HEIGHT / height))
    for number, (name, values) in enumerate(series.items()):
        color, shift = COLORS[number % len(COLORS)], 0.06 * (number - (len(series) - 1) / 2)
        there = [(places.index(place) + shift, *values[place]) for place in places if place in values]
        axes.plot([x for x, *_ in there], [100 * value for _, value, *_ in there], "o-", color=color, label=name)
        for x, _, low, high in there:
            if low is not None and high is not None:
                axes.plot([x, x], [100 * low, 100 * high], color=color, linewidth=1.5, alpha=0.6)
    for number, (name, shown) in enumerate(reported.items()):
        given = [(places.index(place), 100 * value) for place, value in shown.items()]
        axes.plot(
            *zip(*given, strict=True),
            "D--",
            color=COLORS[number % len(COLORS)],
            markerfacecolor="white",
            linewidth=0.8,
            label=name,
        )
    axes.set_xticks(range(len(places)), places, size=9, color=INK)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel("accuracy in %", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=8.5, colors=FAINT, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)
    if any([*series, *reported]):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)
    save(figure, Path(path).with_suffix(".svg"))
    return save(figure, path)


def draw_matrix(
    rows: Points,
    path: str | Path,
    *,
    title: str,
    across: str,
    down: str,
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Scores over two factors, in % and as shades; published numbers below ours, after an open diamond.

    Args:
        rows: by name of the row, then by column: value, lower and upper end, in [0, 1].
        path: PNG to write; an SVG is written beside it.
        title: heading.
        across: what the columns are.
        down: what the rows are.
        published: by row, then by column, values alone; places that ours lack are left white.

    Returns:
        The path.

    Raises:
        ValueError: if there is no row.
        OSError: if the picture cannot be written.
    """
    if not rows:
        raise ValueError("draw_matrix: needs one row at least, got none")
    reported = published or {}
    names = list(dict.fromkeys([*rows, *reported]))
    both: list[Mapping[str, object]] = [*rows.values(), *reported.values()]
    columns = list(dict.fromkeys(column for values in both for column in values))
    left = 0.6 + _CHARACTER * max(map(len, names))
    body, tall = _step(columns, 0.95) * len(columns), 0.5 * len(names)
    width, height = max(left + body + 0.2, 1 + 0.11 * len(title)), _TOP + tall + _BOTTOM
    figure = new_figure(width, height, title=title)
    axes = figure.add_axes((left / width, _BOTTOM / height, body / width, tall / height))
    empty = float("nan")
    values = [[rows.get(row, {}).get(column, (empty, None, None))[0] for column in columns] for row in names]
    known = [value for line in values for value in line if value == value]
    axes.imshow(values, aspect="auto", cmap="Blues", vmin=min(known), vmax=max(known) + 1e-9)
    middle = (min(known) + max(known)) / 2
    for down_place, line in enumerate(values):
        for place, value in enumerate(line):
            if value == value:
                color = "white" if value > middle else INK
                axes.text(place, down_place, f"{100 * value:.1f}", ha="center", va="center", color=color, size=9)
            if (theirs := reported.get(names[down_place], {}).get(columns[place])) is not None:
                color = "white" if value > middle else FAINT
                words = f"\N{WHITE DIAMOND} {100 * theirs:.1f} reported"
                axes.text(place, down_place + 0.33, words, ha="center", va="center", color=color, size=7)
    axes.set_xticks(range(len(columns)), columns, size=9, color=INK)
    axes.set_yticks(range(len(names)), names, size=9, color=INK)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(down, color=INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    save(figure, Path(path).with_suffix(".svg"))
    return save(figure, path)


def _step(places: Sequence[str], least: float) -> float:
    """Inches from place to place, so that their names do not meet."""
    return max(least, 0.15 + _CHARACTER * max(map(len, places)))
