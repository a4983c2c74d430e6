"""Parts of a data set that are the same every time."""

import numpy as np


def stratified_split(labels: np.ndarray, *, test_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint parts with, as nearly as possible, equal shares of each class.

    A class with a single image goes to the first part; of every other class at least one image goes to each.

    Args:
        labels: (N,) integers.
        test_share: of the images that go to the second part, in (0, 1).
        seed: which images.

    Returns:
        Indices of the first and of the second part, int64, ascending.

    Raises:
        ValueError: if ``test_share`` is not inside (0, 1).
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: must be inside (0, 1), got {test_share}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    taken = np.clip(np.rint(counts * test_share), counts > 1, np.maximum(counts - 1, 0)).astype(np.int64)
    is_test = np.zeros(len(labels), bool)
    for start, count in zip(starts, taken, strict=True):
        is_test[order[start : start + count]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
