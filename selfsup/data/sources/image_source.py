"""What every image data set offers: images by index, and labels where they are known."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class ImageDataset(Protocol):
    """Images by index.

    A data set whose images may belong to several classes has no ``labels`` but ``label_sets``, a
    :class:`~selfsup.data.LabelSets`; others need not have that attribute. Nor need they have a ``digest``, a text that
    tells the list of images from others: a run that goes on rejects a list with another one.

    Attributes:
        labels: int64, shape (N,), or ``None`` when the images have no labels; an array, or what looks labels up by
            number, slice or array, has a length, and becomes an array in ``np.asarray``.
        classes: the name of each label, or ``None``.
    """

    labels: np.ndarray | None
    classes: list[str] | None

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """The image at ``index``: uint8 RGB, shape (H, W, 3); RGBA where the data set says so.

        Raises:
            DecodeError: if it cannot be decoded.
        """
        ...

    def name(self, index: int) -> str:
        """What to call the image in a message: its path where it has one."""
        ...
