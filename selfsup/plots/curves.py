"""A run at a glance: everything in its metrics log, in a few panels."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from selfsup.plots.canvas import COLORS, FAINT, GRID, INK, new_figure, save

Series = dict[str, tuple[np.ndarray, np.ndarray]]

POINTS: dict[str, Any] = {"marker": "o", "markersize": 3.2, "clip_on": False}  # the last one lies on the edge
LEFT, RIGHT, GAP = 0.62, 0.55, 0.95  # inches beside and between the panels
DASHES = (0, (5, 4))
MAX_POINTS = 2000  # more cannot be told apart at this width


def draw_curves(
    lines: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    num_prototypes: int | None = None,
    guessing: float | None = None,
    title: str = "Training",
) -> Path:
    """Loss, scores of the frozen features, learning rate, health of the features and of the prototypes, and speed.

    Only panels that have something to show are drawn.

    Args:
        lines: of a ``metrics.jsonl``.
        path: PNG to write.
        num_prototypes: draws ln K, the loss of a method that cannot tell its prototypes apart.
        guessing: draws this accuracy, of naming the most frequent class whatever the image shows, in [0, 1].
        title: heading.

    Returns:
        The path.

    Raises:
        ValueError: if the log holds nothing that can be drawn.
        OSError: if the picture cannot be written.
    """
    series = collect(lines)
    panels: list[Callable[[Axes], None]] = []
    if "loss" in series:
        panels.append(lambda axes: _loss(axes, series, num_prototypes))
    if any(name.endswith("/top1") for name in series):
        panels.append(lambda axes: _accuracy(axes, series, guessing))
    if "features/rankme" in series:
        panels.append(lambda axes: _features(axes, series))
    if "assignment_entropy" in series or "dead_prototypes" in series:
        panels.append(lambda axes: _prototypes(axes, series))
    if "lr" in series:
        panels.append(lambda axes: _learning_rate(axes, series))
    if "images_per_second" in series:
        panels.append(lambda axes: _speed(axes, series))
    if not panels:
        raise ValueError(f"draw_curves: nothing to draw; the log has {sorted(series) or 'no numbers'}")
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    width, height = 4.4 * columns, 3.1 * rows + 0.55
    figure = new_figure(width, height, title=title)
    last = max(int(steps[-1]) for steps, _ in series.values())
    rest = len(panels) % columns  # in the last row, which they fill
    cells = columns * max(1, rest)
    grid = figure.add_gridspec(rows, cells)
    for number, draw in enumerate(panels):
        row, column = divmod(number, columns)
        span = columns if rest and row == rows - 1 else max(1, rest)
        axes = figure.add_subplot(grid[row, span * column : span * (column + 1)])
        _style(axes, last)
        draw(axes)
        if row == rows - 1:
            axes.set_xlabel("step (optimizer updates)", size=9, color=FAINT)
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        top=1 - 0.95 / height,
        bottom=0.55 / height,
        wspace=GAP * cells / (width - LEFT - RIGHT - (cells - 1) * GAP),
        hspace=0.42,
    )
    return save(figure, path)


def collect(lines: Sequence[Mapping[str, Any]]) -> Series:
    """Steps and values of every number in a log's lines, in order of steps; nulls are left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(name, []).append((line["step"], value))
    return {name: tuple(np.array(sorted(pairs, key=lambda p: p[0]), float).T) for name, pairs in found.items()}  # type: ignore[misc]


def smooth(values: np.ndarray, share: float = 0.04) -> np.ndarray:
    """Mean over the neighboring ``share`` of the curve's length, over fewer at both ends; same shape."""
    half = round(len(values) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    starts, ends = np.maximum(0, here - half), np.minimum(len(values), here + half + 1)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _recent(values: np.ndarray) -> float:
    return float(values[-max(1, len(values) // 50) :].mean())


def _style(axes: Axes, last_step: int) -> None:
    axes.set_xlim(0, max(1, last_step))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)


def _headline(axes: Axes, title: str, value: str = "") -> None:
    axes.set_title(title, loc="left", size=10.5, color=INK, pad=9)
    if value:
        axes.set_title(value, loc="right", size=9.5, color=FAINT, pad=9)


def _line(
    axes: Axes,
    series: tuple[np.ndarray, np.ndarray],
    color: str,
    *,
    label: str = "",
    noisy: bool = True,
    dashes: Any = "-",
) -> None:
    steps, values = series
    keep = np.unique(np.linspace(0, len(steps) - 1, MAX_POINTS).astype(int)) if len(steps) > MAX_POINTS else slice(None)
    if not noisy or len(steps) < 20:
        axes.plot(steps, values, color=color, linewidth=1.8, label=label, linestyle=dashes, **POINTS)
        return
    axes.plot(steps[keep], values[keep], color=color, linewidth=0.7, alpha=0.28)
    axes.plot(steps[keep], smooth(values)[keep], color=color, linewidth=1.8, label=label, linestyle=dashes)


def _legend(axes: Axes, handles: list[Any] | None = None) -> None:
    axes.legend(
        handles=handles, fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", labelcolor=INK, loc="best"
    )


def _loss(axes: Axes, series: Series, num_prototypes: int | None) -> None:
    _line(axes, series["loss"], COLORS[0])
    _headline(axes, "loss (nats)", f"now {_recent(series['loss'][1]):.3f}")
    if num_prototypes:
        level = math.log(num_prototypes)
        axes.axhline(level, color=INK, linewidth=1, linestyle=DASHES)
        text = f"ln {num_prototypes:,} = {level:.2f}: nothing learned from here up"
        axes.annotate(text, (1, level), (-4, -4), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", va="top", size=8, color=INK)  # fmt: skip
        axes.margins(y=0.1)


def _accuracy(axes: Axes, series: Series, guessing: float | None) -> None:
    names = sorted(name for name in series if name.endswith("/top1"))
    for color, name in zip(COLORS, names, strict=False):
        steps, values = series[name]
        label = f"{name.removesuffix('/top1')}  {values[-1]:.1%}"
        axes.plot(steps, values, color=color, linewidth=1.8, label=label, **POINTS)
    if guessing is not None:
        label = f"guessing  {guessing:.1%}"
        axes.axhline(guessing, color=INK, linewidth=1, linestyle=DASHES, label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    _headline(axes, "top-1 accuracy, frozen features")
    _legend(axes)


def _features(axes: Axes, series: Series) -> None:
    steps, values = series["features/rankme"]
    axes.plot(steps, values, color=COLORS[2], linewidth=1.8, label="RankMe", **POINTS)
    axes.set_ylim(0, 1.25 * values.max())
    _headline(axes, "RankMe (directions in use)", f"now {values[-1]:.0f}")
    if "features/feature_std_share" in series:
        steps, values = series["features/feature_std_share"]
        other = _second_axis(axes)
        other.plot(
            steps,
            values,
            color=COLORS[3],
            linewidth=1.3,
            **{**POINTS, "markersize": 2.4},
            label="spread: std · √D, 1 = even sphere",
        )
        other.set_ylim(0, 1.25 * max(0.8, values.max()))
        _legend(axes, [*axes.get_lines(), *other.get_lines()])


def _prototypes(axes: Axes, series: Series) -> None:
    named = {"assignment_entropy": "evenness of assignments", "dead_prototypes": "nearest to no image of the batch"}
    styles = ((COLORS[4], "-"), (COLORS[1], (0, (3, 2))))  # both may lie at 100 %
    for (color, dashes), (name, label) in zip(styles, named.items(), strict=True):
        if name in series:
            _line(axes, series[name], color, label=label, dashes=dashes)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _headline(axes, "prototypes (share)")
    _legend(axes)


def _learning_rate(axes: Axes, series: Series) -> None:
    steps, values = series["lr"]
    axes.plot(steps, values, color=COLORS[0], linewidth=1.8)
    axes.set_ylim(0, max(values.max() * 1.05, 1e-12))
    _headline(axes, "learning rate", f"peak {values.max():.3g}")


def _speed(axes: Axes, series: Series) -> None:
    steps, values = series["images_per_second"]
    _line(axes, (steps, values), COLORS[9])
    axes.set_ylim(0, 1.15 * np.quantile(values, 0.98))
    waited = f", data wait {np.median(series['data_wait_share'][1]):.0%}" if "data_wait_share" in series else ""
    _headline(axes, "images/s", f"median {np.median(values):.0f}{waited}")


def _second_axis(axes: Axes) -> Axes:
    other = axes.twinx()
    other.tick_params(labelsize=8, colors=FAINT, length=0)
    other.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for side in other.spines.values():
        side.set_visible(False)
    return other
