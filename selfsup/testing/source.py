"""The contract of image sources: data sets."""

from typing import Any

import numpy as np

from selfsup.data.sources.source import single_labels
from selfsup.testing.contract import global_random_state, listed, must, require, same_values


def check_source(source: Any, *, num_images: int = 16) -> None:
    """Check what training and evaluation ask of a data set.

    - It has ``len(source)``, > 0; ``image(index)`` gives uint8 pixels (H, W, 3) in RGB, or (H, W, 4) with alpha, the
      same each time, in an array of its own.
    - ``name(index)`` gives a text, other for every image.
    - ``labels``, where it has any, are whole numbers, one an image, -1 for none, each a position in ``classes``;
      ``classes`` are different names; ``groups``, where it has any, are whole numbers, one an image.
    - No global random generator is used.

    Args:
        source: built.
        num_images: how many are looked at, evenly spread; names, labels and groups of all.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    for name in ("__len__", "image", "name"):
        require(callable(getattr(source, name, None)), source, f"must have {name}")
    total = len(source)
    require(total > 0, source, "must have at least one image")
    before = global_random_state()
    for index in sorted({round(i * (total - 1) / max(num_images - 1, 1)) for i in range(num_images)}):
        with must(source, f"image({index}) must not raise"):
            image, again = source.image(index), source.image(index)
        is_array = isinstance(image, np.ndarray)
        found = f"{image.dtype} {image.shape}" if is_array else type(image).__name__
        right = is_array and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (3, 4)
        require(right, source, f"image({index}) must be a uint8 array of shape (H, W, 3) or (H, W, 4), got {found}")
        right = np.array_equal(image, again) and not np.shares_memory(image, again)
        require(right, source, f"image({index}) must be the same each time, in an array of its own")
    names = [source.name(index) for index in range(total)]
    wrong = [repr(name) for name in names if not isinstance(name, str) or not name]
    require(not wrong, source, f"name(index) must be a text, got {listed(wrong)}")
    require(len(set(names)) == total, source, f"names must be unique, got {total - len(set(names))} twice or more")
    require(same_values(global_random_state(), before), source, "must not use a global random generator")
    classes = getattr(source, "classes", None)
    if classes is not None:
        require(len(set(classes)) == len(classes), source, f"classes must be different names, got {listed(classes)}")
    for what, given in (("labels", single_labels(source)), ("groups", getattr(source, "groups", None))):
        if given is None:
            continue
        numbers = np.asarray(given)
        whole = numbers.shape == (total,) and np.issubdtype(numbers.dtype, np.integer)
        require(whole, source, f"{what} must be {total} whole numbers, got {numbers.dtype} {numbers.shape}")
        if what == "labels" and classes is not None:
            found = f"{numbers.min()} to {numbers.max()}"
            right = bool(numbers.min() >= -1 and numbers.max() < len(classes))
            require(right, source, f"labels must be -1 or positions in {len(classes)} classes, got {found}")
