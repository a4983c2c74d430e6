"""The contract of transforms and view pipelines."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from selfsup.testing.contract import (
    global_random_state,
    must,
    own_random_numbers,
    require,
    same_values,
    seed_everything,
)

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: image.transpose(1, 0, 2),
    "every other pixel": lambda image: image[::2, ::2],
    "in Fortran's order": np.asfortranarray,
}
"""Arrays that are not contiguous: crops, flips and turns return such."""


def check_transform(
    transform: Any,
    *,
    sizes: Sequence[tuple[int, int]] = ((37, 23), (1, 1), (1, 40), (40, 1), (2, 3)),
    channels: int = 3,
    draws: int = 8,
    varies: bool | None = None,
    seed: int = 0,
) -> None:
    """Check what the data loader asks of a transform, or of a view pipeline, which returns a list.

    - uint8 images (H, W, 3) come out, not empty, each in an array that no later call writes to; a pipeline's views have
      the same sizes every time, so that they can be put into a batch.
    - The result depends on the image and on ``rng`` alone: not on any global random state, which is neither read nor
      advanced, nor on earlier calls.
    - The image is not written to, may be read-only, and need not be contiguous.
    - It survives pickle, as worker processes need, and draws the same there.

    Args:
        transform: built; a copy of it is used.
        sizes: (height, width) of the images it is shown.
        channels: of those images; 4 for transforms that take an alpha channel away.
        draws: states of ``rng`` that are tried for each image.
        varies: whether the result must differ between states of ``rng`` for one of the images, or must not; None if it
            may do either.
        seed: of images and draws.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(callable(transform), transform, "must be callable with an image and rng")
    with own_random_numbers(seed):
        rng = np.random.default_rng(seed)
        images = [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]
        with must(transform, "must be copyable"):
            used = copy.deepcopy(transform)
        with must(transform, "must survive pickle, as worker processes need"):
            pickled = pickle.loads(pickle.dumps(transform))
        drawn = [[_check_draw(used, pickled, image, draw) for draw in range(draws)] for image in images]
        if isinstance(used(images[0], np.random.default_rng(0)), list):
            shapes = {tuple(view.shape for view in views) for of_image in drawn for views in of_image}
            require(
                len(shapes) == 1,
                transform,
                f"its views must have the same sizes every time, or no batch can be made of them, got {len(shapes)} "
                "combinations",
            )
        different = any(not same_values(views, of_image[0]) for of_image in drawn for views in of_image)
        require(different or not varies, transform, "must draw from rng, but gives the same whatever its state")
        require(
            not different or varies is not False,
            transform,
            "must not draw from rng, but gives something else for another state",
        )
        for image in images:
            _check_layouts(used, image)


def _check_draw(transform: Any, pickled: Any, image: np.ndarray, draw: int) -> list[np.ndarray]:
    """One draw's views."""

    def run(used: Any, image: np.ndarray) -> list[np.ndarray]:
        result = used(image, np.random.default_rng(draw))
        return result if isinstance(result, list) else [result]

    given, before = image.copy(), global_random_state()
    with must(transform, f"must take a uint8 image of shape {image.shape}"):
        views = run(transform, image)
    _check_views(transform, views)
    expected = [view.copy() for view in views]
    require(np.array_equal(image, given), transform, "must not write to its input")
    untouched = global_random_state() == before
    require(untouched, transform, "must not draw from a global random generator; draw from rng")
    again = run(transform, image)
    require(same_values(again, expected), transform, "must give the same for the same image and the same rng")
    seed_everything(draw + 1)
    seeded = run(transform, image)
    require(same_values(seeded, expected), transform, "must not read a global random generator; draw from rng")
    elsewhere = run(pickled, image)
    require(same_values(elsewhere, expected), transform, "must give the same after pickle, as in a worker process")
    run(transform, 255 - image)
    require(
        same_values(views, expected),
        transform,
        "must give an array of its own each time, but an earlier result changed when it was called with another image",
    )
    return expected


def _check_layouts(transform: Any, image: np.ndarray) -> None:
    frozen = image.copy()
    frozen.flags.writeable = False
    for name, other in {"read-only": frozen, **{name: layout(image) for name, layout in LAYOUTS.items()}}.items():
        expected = transform(np.ascontiguousarray(other).copy(), np.random.default_rng(0))
        with must(transform, f"must take an image that is not writable or not contiguous ({name})"):
            found = transform(other, np.random.default_rng(0))
        same = same_values(found, expected)
        require(same, transform, f"must give the same for an image that is not writable or not contiguous ({name})")


def _check_views(transform: Any, views: list[Any]) -> None:
    require(bool(views), transform, "must give at least one view")
    for view in views:
        require(isinstance(view, np.ndarray), transform, f"must give NumPy arrays, got {type(view).__name__}")
        require(view.dtype == np.uint8, transform, f"must give uint8, got {view.dtype}")
        right = view.ndim == 3 and view.shape[2] == 3 and view.size > 0
        require(right, transform, f"must give images of shape (height, width, 3), got {view.shape}")
    wanted = getattr(transform, "num_views", len(views))
    require(len(views) == wanted, transform, f"num_views says {wanted}, but {len(views)} came out")
