"""The classes of images that may belong to several."""

import numpy as np


class LabelSets:
    """For every image the numbers of its classes, held one behind the other: no row of zeros per image.

    Args:
        numbers: class numbers of all images, int64, shape (M,).
        offsets: where each image's numbers begin in ``numbers``, and M at the end; int64, shape (N + 1,).
        num_classes: C.
    """

    def __init__(self, numbers: np.ndarray, offsets: np.ndarray, num_classes: int) -> None:
        self.numbers = numbers
        self.offsets = offsets
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> np.ndarray:
        """1 for each class of the image and 0 for all others, uint8, shape (C,)."""
        row = np.zeros(self.num_classes, np.uint8)
        row[self.numbers[self.offsets[index] : self.offsets[index + 1]]] = 1
        return row
