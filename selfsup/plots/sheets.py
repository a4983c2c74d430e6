"""Sheets of pictures: what the network is shown, and what it finds alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from selfsup.ops.images import on_background
from selfsup.plots.canvas import COLORS, FAINT, INK, class_name, image_axes, new_figure, save

CELL = 1.25
GAP = 0.12
MARGIN = 0.16
MIN_SIDE = 0.45  # inches; a smaller view could not be made out


def draw_view_sheet(
    rows: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]],
    path: str | Path,
    *,
    title: str = "What the network is shown: an image and its views",
) -> Path:
    """A row for each image: the original, then all its views, each as large as its pixels are many.

    Args:
        rows: pairs of an original, uint8 (H, W, 3 or 4), and its views, uint8 (h, w, 3); every row has as many views.
        path: PNG to write.
        title: heading.

    Returns:
        The path.

    Raises:
        ValueError: if there are no rows.
        OSError: if the picture cannot be written.
    """
    if not rows:
        raise ValueError("draw_view_sheet: needs one image at least, got none")
    sides = [max(view.shape[:2]) for view in rows[0][1]]
    inches = [max(MIN_SIDE, CELL * side / max(sides)) for side in sides]
    lefts = [MARGIN + CELL + 3 * GAP + sum(inches[:number]) + GAP * number for number in range(len(sides))]
    head = 0.85
    width = max(lefts[-1] + inches[-1] + MARGIN, 6.2)
    figure = new_figure(width, head + len(rows) * (CELL + GAP) + MARGIN, title=title)
    height = figure.get_size_inches()[1]
    captions = [("original", MARGIN, CELL)]
    captions += [(f"{side} px", left, inch) for side, left, inch in zip(sides, lefts, inches, strict=True)]
    for text, left, inch in captions:
        figure.text((left + inch / 2) / width, 1 - (head - 0.08) / height, text, ha="center", size=9, color=FAINT)
    for number, (original, views) in enumerate(rows):
        top = head + number * (CELL + GAP)
        image_axes(figure, on_background(original), MARGIN, top, CELL)
        for view, left, inch in zip(views, lefts, inches, strict=True):
            image_axes(figure, view, left, top + (CELL - inch) / 2, inch)
    return save(figure, path)


def draw_prototypes(
    scores: Tensor,
    images: Sequence[np.ndarray],
    path: str | Path,
    *,
    labels: Tensor | None = None,
    classes: list[str] | None = None,
    num_prototypes: int = 8,
    num_images: int = 10,
    title: str = "What the most used prototypes stand for: their nearest images",
) -> Path:
    """A row for each of the most used prototypes: the images with the highest scores, best first.

    Args:
        scores: similarity of each image to each prototype, (N, K).
        images: N images, uint8 (H, W, 3).
        path: PNG to write.
        labels: class of each image, int64 (N,); gives each image a frame of its class's color.
        classes: names of the classes.
        num_prototypes: rows at most.
        num_images: images in a row at most.
        title: heading.

    Returns:
        The path.

    Raises:
        ValueError: if there are no images.
        OSError: if the picture cannot be written.
    """
    if not len(images):
        raise ValueError("draw_prototypes: needs one image at least, got none")
    used = scores.argmax(dim=1).bincount(minlength=scores.shape[1])
    chosen = [p for p in used.argsort(descending=True, stable=True)[:num_prototypes].tolist() if used[p]]
    columns = min(num_images, len(images))
    side, text_width, head = 0.82, 1.75, 0.72
    present = [] if labels is None else labels.unique().tolist()
    legend_height = 0.26 * -(-len(present) // 5) if 0 < len(present) <= len(COLORS) else 0
    width = max(text_width + columns * (side + GAP) + MARGIN, 6.2)
    figure = new_figure(width, head + len(chosen) * (side + GAP) + MARGIN + legend_height, title=title)
    height = figure.get_size_inches()[1]
    summary = (
        f"{int((used > 0).sum())} of {scores.shape[1]} prototypes are nearest to at least one of {len(images)} images"
    )
    figure.text(MARGIN / width, 1 - 0.44 / height, summary, va="top", size=9, color=FAINT)
    for row, prototype in enumerate(chosen):
        top = head + row * (side + GAP)
        y = 1 - (top + side / 2) / height
        nearest = scores[:, prototype].argsort(descending=True, stable=True)[:columns].tolist()
        figure.text(MARGIN / width, y + 0.09 / height, f"prototype {prototype}", va="center", size=10, color=INK)
        share = f"{used[prototype].item() / len(images):.1%} of images"
        figure.text(MARGIN / width, y - 0.11 / height, share, va="center", size=8.5, color=FAINT)
        for column, index in enumerate(nearest):
            frame = COLORS[int(labels[index]) % len(COLORS)] if labels is not None and legend_height else None
            image_axes(figure, images[index], text_width + column * (side + GAP), top, side, frame=frame)
    for number, label in enumerate(present if legend_height else []):
        x = MARGIN + (number % 5) * (width - 2 * MARGIN) / 5
        y = legend_height + 0.04 - 0.26 * (number // 5) - 0.1
        color = COLORS[label % len(COLORS)]
        figure.text(x / width, y / height, "■", color=color, size=11, va="center")
        figure.text((x + 0.18) / width, y / height, class_name(classes, label), color=INK, size=9, va="center")
    return save(figure, path)


def draw_mistakes(
    rows: Mapping[str, Sequence[tuple[np.ndarray, str, str]]],
    path: str | Path,
    *,
    title: str = "Mistakes, the surest first",
) -> Path:
    """A row of images for each kind of mistake, each with its label and the class it was given.

    Args:
        rows: by kind: an image, uint8 (H, W, 3), its label, and what was predicted.
        path: PNG to write.
        title: heading.

    Returns:
        The path.

    Raises:
        ValueError: if there is no mistake.
        OSError: if the picture cannot be written.
    """
    shown = {kind: images for kind, images in rows.items() if images}
    if not shown:
        raise ValueError("draw_mistakes: needs one mistake at least, got none")
    side, gap, head, kind_height = 1.25, 0.14, 0.5, 0.32
    width = max(6.2, 0.32 + max(map(len, shown.values())) * (side + gap))
    step = kind_height + side + 0.46
    figure = new_figure(width, head + len(shown) * step + 0.1, title=title)
    height = figure.get_size_inches()[1]
    for number, (kind, images) in enumerate(shown.items()):
        top = head + number * step
        figure.text(0.16 / width, 1 - (top + 0.12) / height, kind, va="center", size=10, weight="bold", color=INK)
        for column, (image, label, predicted) in enumerate(images):
            left = 0.16 + column * (side + gap)
            image_axes(figure, image, left, top + kind_height, side)
            for line, (text, color) in enumerate(((f"is {label}", INK), (f"given {predicted}", COLORS[3]))):
                cut = text if len(text) <= 20 else text[:19] + "…"
                y = top + kind_height + side + 0.12 + 0.15 * line
                figure.text(
                    (left + side / 2) / width, 1 - y / height, cut, ha="center", va="center", size=7.5, color=color
                )
    return save(figure, path)
