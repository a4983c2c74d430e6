"""The nearest images of an image."""

import os
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.protocols.knn import nearest
from selfsup.evaluation.representation import Representation

if TYPE_CHECKING:  # matplotlib is an extra
    from selfsup.plots.neighbors import NeighborRow


def nearest_images(
    queries: Features, images: Features, count: int, *, skip: list[int | None] | None = None
) -> tuple[list[list[int]], list[list[float]]]:
    """Rows of ``images`` by cosine similarity to each query, nearest first.

    Args:
        queries: features of M images.
        images: features of what is searched.
        count: images of each query at the most, > 0.
        skip: of each query the row that it is itself, which is left out; None where it is not among the images.

    Returns:
        Rows of ``images`` and their cosines, of each query.
    """
    own = skip or [None] * len(queries)
    cosines, rows = nearest(
        normalize(queries.features, dim=1), normalize(images.features, dim=1), count + 1, device=images.device
    )
    found: tuple[list[list[int]], list[list[float]]] = ([], [])
    for itself, some_rows, some_cosines in zip(own, rows.tolist(), cosines.tolist(), strict=True):
        kept = [(row, cosine) for row, cosine in zip(some_rows, some_cosines, strict=True) if row != itself][:count]
        found[0].append([row for row, _ in kept])
        found[1].append([cosine for _, cosine in kept])
    return found


def same_images(queries: Any, found: Features, source: Any, images: Features) -> list[int | None]:
    """Of each query the row of ``images`` that is the same file, or has the same name where there are no files."""
    rows = {_identity(source, index): row for row, index in enumerate(images.index.tolist())}
    return [rows.get(_identity(queries, index)) for index in found.index.tolist()]


def _identity(source: Any, index: int) -> str:
    file = getattr(source, "file", None)
    return source.name(index) if file is None else os.path.realpath(file(index))


def rows_of(representation: Representation, queries: Any, source: Any, *, count: int) -> "list[NeighborRow]":
    """What a picture shows of some queries and their nearest images; all processes call this.

    Args:
        representation: whose features are compared.
        queries: a source, of which every image is a row.
        source: what is searched.
        count: images of each query.
    """
    asked, images = representation.extract(queries), representation.extract(source)
    places, cosines = nearest_images(asked, images, count, skip=same_images(queries, asked, source, images))
    return neighbor_rows(representation, queries, source, asked, images, places, cosines)


def neighbor_rows(
    representation: Representation,
    queries: Any,
    source: Any,
    asked: Features,
    images: Features,
    places: list[list[int]],
    cosines: list[list[float]],
) -> "list[NeighborRow]":
    """What :func:`nearest_images` found, with the images as the network is shown them.

    Args:
        representation: whose input contract shows them.
        queries, source: the images.
        asked, images: their features.
        places, cosines: what was found.
    """
    from selfsup.plots.neighbors import NeighborRow

    view = representation.input_contract.view
    rows = []
    for number, (some, similarities) in enumerate(zip(places, cosines, strict=True)):
        alike = None
        if asked.labels is not None and images.labels is not None:
            alike = (images.labels[torch.tensor(some, dtype=torch.int64)] == asked.labels[number]).tolist()
        index = int(asked.index[number])
        shown = [view(source.image(int(images.index[row]))) for row in some]
        rows.append(NeighborRow(view(queries.image(index)), shown, similarities, queries.name(index), alike))
    return rows
