"""The contract of transforms and view pipelines."""

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsup.testing.contract import global_random_state, must, own_random_numbers, require, same_values


def check_transform(
    transform: Any,
    *,
    sizes: Sequence[tuple[int, int]] = ((37, 23), (1, 1), (1, 40), (40, 1), (2, 3)),
    channels: int = 3,
    varies: bool | None = None,
) -> None:
    """Check what the data loader asks of a transform, or of a view pipeline, which returns a list.

    - uint8 images (H, W, 3) come out, not empty, each in an array that no later call writes to; a pipeline's views have
      the same sizes every time, so that they can be put into a batch.
    - The result depends on the image and on ``rng`` alone: not on any global random state, which is neither read nor
      advanced, nor on earlier calls.
    - The image is not written to and need not be contiguous: crops and flips return such.
    - It survives pickle, as worker processes need, and draws the same there.

    Args:
        transform: built; a copy of it is used.
        sizes: (height, width) of the images it is shown.
        channels: of those images; 4 for transforms that take an alpha channel away.
        varies: whether the result must differ between states of ``rng`` for one of the images, or must not; None if it
            may do either.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(callable(transform), transform, "must be callable with an image and rng")
    with own_random_numbers():
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]
        with must(transform, "must survive pickle, as worker processes need"):
            elsewhere = pickle.loads(pickle.dumps(transform))
        used = copy.deepcopy(transform)
        drawn = [[_check_draw(used, elsewhere, image, draw) for draw in range(8)] for image in images]
        if isinstance(used(images[0], np.random.default_rng(0)), list):
            shapes = {tuple(view.shape for view in views) for of_image in drawn for views in of_image}
            sentence = "its views must have the same sizes every time, or no batch can be made of them"
            require(len(shapes) == 1, transform, f"{sentence}, got {len(shapes)} combinations")
        different = any(not same_values(views, of_image[0]) for of_image in drawn for views in of_image)
        found = f"gives {'something else' if different else 'the same'} for another state of rng"
        require(varies in (None, different), transform, f"was said to have varies={varies}, but {found}")


def _views(transform: Any, image: np.ndarray, draw: int) -> list[np.ndarray]:
    result = transform(image, np.random.default_rng(draw))
    return result if isinstance(result, list) else [result]


def _check_draw(transform: Any, elsewhere: Any, image: np.ndarray, draw: int) -> list[np.ndarray]:
    """One draw's views."""
    given, before = image.copy(), global_random_state()
    with must(transform, f"must take a uint8 image of shape {image.shape}"):
        views = _views(transform, image, draw)
    _check_views(transform, views)
    expected = [view.copy() for view in views]
    require(np.array_equal(image, given), transform, "must not write to its input")
    untouched = same_values(global_random_state(), before)
    require(untouched, transform, "must not draw from a global random generator; draw from rng")
    with own_random_numbers(seed=draw + 1):
        again = _views(transform, image, draw)
    require(same_values(again, expected), transform, "must give the same for the same image and the same rng")
    again = _views(elsewhere, image, draw)
    require(same_values(again, expected), transform, "must give the same after pickle, as in a worker process")
    turned = image[:, ::-1].transpose(1, 0, 2)
    with must(transform, "must take an image that is not contiguous"):
        again = _views(transform, turned, draw)
    right = same_values(again, _views(transform, turned.copy(), draw))
    require(right, transform, "must give the same for an image that is not contiguous")
    _views(transform, 255 - image, draw)
    own = same_values(views, expected)
    require(own, transform, "must give an array of its own each time, but a later call has changed an earlier result")
    return expected


def _check_views(transform: Any, views: list[Any]) -> None:
    require(bool(views), transform, "must give at least one view")
    for view in views:
        found = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
        right = isinstance(view, np.ndarray) and view.dtype == np.uint8 and view.ndim == 3 and view.shape[2] == 3
        require(right and view.size > 0, transform, f"must give uint8 arrays of shape (H, W, 3), got {found}")
    wanted = getattr(transform, "num_views", len(views))
    require(len(views) == wanted, transform, f"num_views says {wanted}, but {len(views)} came out")
