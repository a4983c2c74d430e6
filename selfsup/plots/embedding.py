"""A map of images by what the network finds alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from selfsup.plots.canvas import COLORS, FAINT, INK, class_name, image_axes, new_figure, save

MIN_NEIGHBORHOODS = 20  # images; t-SNE of fewer shows nothing that principal components do not


def to_plane(features: Tensor, *, seed: int = 0) -> tuple[np.ndarray, str]:
    """Lay features out in the plane so that what is alike is near.

    Args:
        features: (N, D), N > 1; compared by their direction only.
        seed: of t-SNE.

    Returns:
        Positions, float64 (N, 2), and how they were found: t-SNE where scikit-learn is installed and there are images
        enough, else the two first principal components.
    """
    directions = normalize(features.double(), dim=1)
    left, values, _ = torch.linalg.svd(directions - directions.mean(dim=0), full_matrices=False)
    plane = torch.zeros(len(features), 2, dtype=torch.float64)
    plane[:, : values[:2].numel()] = left[:, :2] * values[:2]
    spread = plane[:, 0].std().item()
    if len(features) >= MIN_NEIGHBORHOODS and spread > 1e-6:  # collapsed features have no neighborhoods to keep
        try:
            from sklearn.manifold import TSNE
            from threadpoolctl import threadpool_limits
        except ImportError:
            return plane.numpy(), "principal components"
        start = (plane * 1e-4 / spread).float().numpy()  # the small scale that t-SNE's early steps are made for
        layout = TSNE(perplexity=min(30.0, (len(features) - 1) / 3), init=start, random_state=seed, max_iter=500)
        with threadpool_limits(1):  # a thousand points: several threads wait for one another longer than they work
            return layout.fit_transform(directions.float().numpy()).astype(np.float64), "t-SNE"
    return plane.numpy(), "principal components"


def draw_embedding_map(
    features: Tensor,
    path: str | Path,
    *,
    labels: Tensor | None = None,
    classes: list[str] | None = None,
    thumbnails: Sequence[np.ndarray] | None = None,
    title: str = "Map of the embedding: images the network finds alike lie together",
    seed: int = 0,
) -> Path:
    """A point for each image, and the image itself wherever there is room.

    Args:
        features: (N, D), N > 1.
        path: PNG to write.
        labels: class of each image, int64 (N,); colors points and frames, with a legend for up to twenty classes.
        classes: names of the classes.
        thumbnails: N images, uint8 (H, W, 3).
        title: heading.
        seed: of the layout.

    Returns:
        The path.

    Raises:
        ValueError: if there are fewer than two images.
        OSError: if the picture cannot be written.
    """
    if len(features) < 2:
        raise ValueError(f"draw_embedding_map: needs two images at least, got {len(features)}")
    positions, method = to_plane(features, seed=seed)
    present = [] if labels is None else labels.unique().tolist()
    has_legend = 0 < len(present) <= len(COLORS)
    map_side, head, legend = 8.6, 0.8, 1.9 if has_legend else 0.0
    width, height = map_side + legend + 0.32, map_side + head + 0.16
    figure = new_figure(width, height, title=title)
    summary = f"{len(features)} images, {method} of {features.shape[1]}-dimensional features"
    if len(present) > len(COLORS):
        summary += f", {len(present)} classes (colors repeat)"
    figure.text(0.16 / width, 1 - 0.44 / height, summary, va="top", size=9, color=FAINT)
    axes = figure.add_axes((0.16 / width, 0.16 / height, map_side / width, map_side / height))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d5d9de")
    colors = [COLORS[0]] * len(features) if labels is None else [COLORS[i % len(COLORS)] for i in labels.tolist()]
    axes.scatter(positions[:, 0], positions[:, 1], c=colors, s=16, linewidths=0, alpha=0.8)
    low, high = positions.min(axis=0), positions.max(axis=0)
    room = 0.05 * np.maximum(high - low, 1e-9)
    axes.set_xlim(low[0] - room[0], high[0] + room[0])
    axes.set_ylim(low[1] - room[1], high[1] + room[1])
    if thumbnails is not None:
        side = 0.36
        inches = (positions - low + room) / (high - low + 2 * room) * map_side
        for index in without_overlap(inches, side * 1.12):
            left, up = inches[index]
            top = head + map_side - up - side / 2
            frame = colors[index] if has_legend else None
            image_axes(figure, thumbnails[index], 0.16 + left - side / 2, top, side, frame=frame)
    for number, label in enumerate(present if has_legend else []):
        y = 1 - (head + 0.15 + 0.27 * number) / height
        x = (map_side + 0.42) / width
        figure.text(x, y, "●", color=COLORS[label % len(COLORS)], size=12, va="center")
        figure.text(x + 0.2 / width, y, class_name(classes, label), color=INK, size=9.5, va="center")
    return save(figure, path)


def without_overlap(positions: np.ndarray, distance: float) -> list[int]:
    """Indices of points that keep ``distance`` from one another along an axis, taken greedily in order.

    Args:
        positions: (N, 2).
        distance: side of the square each point needs.
    """
    chosen: list[int] = []
    for index, position in enumerate(positions):
        if not chosen or (np.abs(positions[chosen] - position).max(axis=1) >= distance).all():
            chosen.append(index)
    return chosen
