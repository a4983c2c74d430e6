"""How our pictures look, in one place; drawn without a display and without matplotlib's global state."""

import contextlib
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 110
INK = "#222831"
FAINT = "#8a929c"
GRID = "#e3e6ea"
COLORS = (
    "#1f6fb4", "#e0731d", "#2e9d4f", "#c93a3a", "#8a5fc0", "#8b5a3c", "#d867b0", "#5f6b75", "#b3b01f", "#17a5b8",
    "#7fb3e6", "#f2b277", "#8fd19e", "#f09a98", "#c4afe0", "#c79f8a", "#f2b6d8", "#b9c0c7", "#d9d77a", "#98dbe3",
)  # fmt: skip
"""Twenty colors to tell classes apart: ten full ones, then the same ones light."""


def new_figure(width: float, height: float, *, title: str = "") -> Figure:
    """An empty white figure of so many inches, with a heading."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    if title:
        figure.text(0.16 / width, 1 - 0.14 / height, title, ha="left", va="top", size=13, weight="bold", color=INK)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG under a temporary name, then rename it: whoever looks at it during a run sees a whole picture.

    With the suffix ``.svg`` it is drawn as one, the same to the byte every time.

    Raises:
        OSError: if it cannot be written; nothing half written stays.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix == ".svg":
            with rc_context({"svg.hashsalt": path.stem}):
                figure.savefig(partial, format="svg", metadata={"Date": None})
        else:
            figure.savefig(partial, format="png", dpi=DPI)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return path


def image_axes(
    figure: Figure, image: np.ndarray, left: float, top: float, side: float, *, frame: str | None = None
) -> Axes:
    """Show an image with its upper left corner ``left`` and ``top`` inches from the figure's.

    Args:
        figure: where to.
        image: uint8 (H, W, 3); fitted into a square.
        left: inches from the left edge.
        top: inches from the upper edge.
        side: of the square, in inches.
        frame: color of a frame around it; None for a hairline, without which a white image would be lost.
    """
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
    pixels_drawn = side * DPI
    axes.imshow(image, interpolation="nearest" if max(image.shape[:2]) < pixels_drawn else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(frame or GRID)
        spine.set_linewidth(2.0 if frame else 0.8)
    return axes


def class_name(classes: list[str] | None, label: int) -> str:
    """The name of a class, or its number where there are no names."""
    return str(classes[label]) if classes is not None and label < len(classes) else f"class {label}"
