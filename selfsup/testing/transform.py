"""The contract of transforms and view pipelines."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from selfsup.testing.promise import global_random_state, own_random_numbers, promise, promised, seed_everything

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: image.transpose(1, 0, 2),
    "every other pixel": lambda image: image[::2, ::2],
    "other channel order": lambda image: image[..., ::-1],
    "in Fortran's order": np.asfortranarray,
}
"""Arrays that are not contiguous: crops, flips and turns hand such on."""


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

    uint8 images (H, W, 3) come out, not empty, each in an array that no later call writes to; a pipeline's views have
    the same sizes every time, so that they can be put into a batch; the result depends on the image and on ``rng``
    alone: not on any global random state, which is neither read nor advanced, nor on earlier calls; the image is not
    written to, may be read-only, and need not be contiguous; a transform survives pickle, as worker processes need, and
    draws the same there.

    Args:
        transform: built; a copy of it is used.
        sizes: (height, width) of the images it is shown.
        channels: of those images; 4 for transforms that take an alpha channel away.
        draws: states of ``rng`` that are tried for each image.
        varies: whether the result must differ between states of ``rng`` for one of the images, or must not; None if it
            may do either.
        seed: of images and draws.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    promise(callable(transform), transform, "must be callable with an image and rng")
    with own_random_numbers(seed):
        rng = np.random.default_rng(seed)
        images = [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]
        with promised(transform, "must be copyable"):
            used = copy.deepcopy(transform)
        with promised(transform, "must survive pickle, as worker processes need"):
            elsewhere = pickle.loads(pickle.dumps(transform))
        drawn = [[_check_draw(used, elsewhere, image, draw) for draw in range(draws)] for image in images]
        sides = {tuple(view.shape for view in views) for of_image in drawn for views in of_image}
        promise(
            not _is_pipeline(used, images[0]) or len(sides) == 1,
            transform,
            f"its views must have the same sizes every time, or no batch can be made of them, got {len(sides)} "
            "combinations",
        )
        different = any(not _same(views, of_image[0]) for of_image in drawn for views in of_image)
        if varies is not None:
            promise(
                different == varies,
                transform,
                "must draw something from rng, but gives the same whatever its state"
                if varies
                else "must draw nothing from rng, but gives something else for another state",
            )
        for image in images:
            _check_layouts(used, image)


def _is_pipeline(transform: Any, image: np.ndarray) -> bool:
    return isinstance(transform(image, np.random.default_rng(0)), list)


def _check_draw(transform: Any, elsewhere: Any, image: np.ndarray, draw: int) -> list[np.ndarray]:
    """One draw's views."""
    given = image.copy()
    before = global_random_state()
    with promised(transform, f"must take a uint8 image of shape {image.shape}"):
        result = transform(image, np.random.default_rng(draw))
    expected = [view.copy() for view in _check_result(transform, result)]
    promise(np.array_equal(image, given), transform, "must not write to its input")
    promise(global_random_state() == before, transform, "must not draw from a global random generator; draw from rng")
    again = transform(image, np.random.default_rng(draw))
    promise(_same(again, expected), transform, "must give the same for the same image and the same rng")
    seed_everything(draw + 1)
    seeded = transform(image, np.random.default_rng(draw))
    promise(_same(seeded, expected), transform, "must not look at a global random generator; draw from rng")
    unpickled = elsewhere(image, np.random.default_rng(draw))
    promise(_same(unpickled, expected), transform, "must give the same after pickle, as in a worker process")
    transform(255 - image, np.random.default_rng(draw))
    promise(
        _same(result, expected),
        transform,
        "must give an array of its own each time, but an earlier result changed when it was called with another image",
    )
    return expected


def _check_layouts(transform: Any, image: np.ndarray) -> None:
    image = image.copy()
    expected = transform(image, np.random.default_rng(0))
    image.flags.writeable = False
    with promised(transform, "must take a read-only image"):
        found = transform(image, np.random.default_rng(0))
    promise(_same(found, expected), transform, "must give the same for a read-only image")
    for name, layout in LAYOUTS.items():
        strided = layout(image)
        expected = transform(np.ascontiguousarray(strided), np.random.default_rng(0))
        with promised(transform, f"must take an image that is not contiguous ({name})"):
            found = transform(strided, np.random.default_rng(0))
        promise(
            _same(found, expected),
            transform,
            f"must give the same for an image that is not contiguous ({name})",
        )


def _views(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


def _same(a: Any, b: Any) -> bool:
    a, b = _views(a), _views(b)
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def _check_result(transform: Any, result: Any) -> list[np.ndarray]:
    views = _views(result)
    what = "every view" if isinstance(result, list) else "the result"
    promise(bool(views), transform, "must give at least one view")
    for view in views:
        promise(isinstance(view, np.ndarray), transform, f"{what} must be a NumPy array, got {type(view).__name__}")
        promise(view.dtype == np.uint8, transform, f"{what} must be uint8, got {view.dtype}")
        promise(
            view.ndim == 3 and view.shape[2] == 3 and view.size > 0,
            transform,
            f"{what} must have shape (height, width, 3), got {view.shape}",
        )
    wanted = getattr(transform, "num_views", len(views))
    promise(len(views) == wanted, transform, f"num_views says {wanted}, but {len(views)} came out")
    return views
