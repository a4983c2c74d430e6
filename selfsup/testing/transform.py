"""The contract of transforms and view pipelines."""

import pickle
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from selfsup.testing.promise import global_random_state, own_random_numbers, promise, promised


def check_transform(
    transform: Any,
    *,
    sizes: Sequence[tuple[int, int]] = ((40, 50), (33, 33)),
    channels: int = 3,
    draws: int = 8,
    seed: int = 0,
) -> None:
    """Check what the data loader asks of a transform, or of a view pipeline, which returns a list.

    uint8 images (H, W, 3) come out, not empty; the result depends on the image and on ``rng`` alone: not on any global
    random state, which is neither read nor advanced, nor on earlier calls; the image is not written to, may be
    read-only, and need not be contiguous; a transform survives pickle, as worker processes need, and draws the same
    there.

    Args:
        transform: built.
        sizes: (height, width) of the images it is shown.
        channels: of those images; 4 for transforms that take an alpha channel away.
        draws: states of ``rng`` that are tried for each image.
        seed: of images and draws.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    with own_random_numbers(seed):
        rng = np.random.default_rng(seed)
        images = [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]
        with promised(transform, "must survive pickle, as worker processes need"):
            elsewhere = pickle.loads(pickle.dumps(transform))
        for image in images:
            for draw in range(draws):
                _check_draw(transform, elsewhere, image, draw)


def _check_draw(transform: Any, elsewhere: Any, image: np.ndarray, draw: int) -> None:
    given = image.copy()
    before = global_random_state()
    with promised(transform, f"must take a uint8 image of shape {image.shape}"):
        result = transform(image, np.random.default_rng(draw))
    expected = _check_result(transform, result)
    promise(np.array_equal(image, given), transform, "must not write to its input")
    promise(global_random_state() == before, transform, "must not draw from a global random generator; draw from rng")

    def same(found: Any, sentence: str) -> None:
        views = found if isinstance(found, list) else [found]
        kept = len(views) == len(expected) and all(map(np.array_equal, views, expected))
        promise(kept, transform, sentence)

    same(transform(image, np.random.default_rng(draw)), "must give the same for the same image and the same rng")
    random.seed(draw + 1)
    np.random.seed(draw + 1)
    torch.manual_seed(draw + 1)
    same(transform(image, np.random.default_rng(draw)), "must not look at a global random generator; draw from rng")
    same(elsewhere(image, np.random.default_rng(draw)), "must give the same after pickle, as in a worker process")
    image.flags.writeable = False
    with promised(transform, "must take a read-only image"):
        found = transform(image, np.random.default_rng(draw))
    image.flags.writeable = True
    same(found, "must give the same for a read-only image")
    strided = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    with promised(transform, "must take an image that is not contiguous"):
        found = transform(strided, np.random.default_rng(draw))
    same(found, "must give the same for an image that is not contiguous")


def _check_result(transform: Any, result: Any) -> list[np.ndarray]:
    views = result if isinstance(result, list) else [result]
    what = "every view" if isinstance(result, list) else "the result"
    promise(bool(views), transform, "must give at least one view")
    for view in views:
        promise(isinstance(view, np.ndarray), transform, f"{what} must be a NumPy array, got {type(view).__name__}")
        promise(view.dtype == np.uint8, transform, f"{what} must be uint8, got {view.dtype}")
        promise(
            view.ndim == 3 and view.shape[2] in (3, 4) and view.size > 0,
            transform,
            f"{what} must have shape (height, width, 3), got {view.shape}",
        )
    wanted = getattr(transform, "num_views", len(views))
    promise(len(views) == wanted, transform, f"num_views says {wanted}, but {len(views)} came out")
    return [view.copy() for view in views]
