"""Views of several sizes through one module."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def forward_by_size(module: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Call a module once per image size, with all views of that size concatenated.

    Nothing is padded. Sizes are taken in the order of their first view, which is also the order in which batch norm
    sees them.

    Args:
        module: (B, 3, h, w) -> (B, D).
        views: each of shape (B, 3, h, w).

    Returns:
        The outputs in the order of the views, each of shape (B, D).
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, view in enumerate(views):
        places.setdefault(tuple(view.shape[1:]), []).append(place)
    outputs: dict[int, Tensor] = {}
    for same_size in places.values():
        output = module(torch.cat([views[place] for place in same_size]))
        parts = output.split([len(views[place]) for place in same_size])
        outputs.update(zip(same_size, parts, strict=True))
    return [outputs[place] for place in range(len(views))]
