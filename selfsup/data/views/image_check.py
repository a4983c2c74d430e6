"""What transforms and view pipelines give, which may be anybody's: looked at before a batch is made of it."""

from typing import Any

import numpy as np

from selfsup.errors import DataError


def is_image(value: Any) -> bool:
    """Whether something is an image as transforms and views have them: uint8, three dimensions."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3


def kind_of(image: Any) -> str:
    """What something that should be an image is, for an error message."""
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


def check_source_image(image: Any, name: str) -> None:
    """Reject what an image source gives if it is no image as all readers give them.

    Args:
        image: what ``source.image`` has returned.
        name: of the image.

    Raises:
        DataError: unless it is uint8, (height, width, 3) or with alpha (height, width, 4).
    """
    if not is_image(image) or image.shape[2] not in (3, 4):
        raise DataError.at(
            name,
            "an image of a source must be uint8 in [0, 255], RGB (height, width, 3) or RGBA (height, width, 4)",
            got=kind_of(image),
        )


def check_images(views: Any) -> None:
    """Reject what a view pipeline returns if no batch can be made of it.

    Raises:
        DataError: unless it is a list of uint8 images (height, width, 3).
    """
    if not isinstance(views, list | tuple) or not views:
        got = "an empty one" if isinstance(views, list | tuple) else kind_of(views)
        raise DataError.at("views", f"the pipeline must return a list of images, got {got}")
    for number, view in enumerate(views):
        if not is_image(view) or view.shape[2] != 3:
            raise DataError.at(
                f"views.{number}", f"the pipeline must return images, uint8 (height, width, 3), got {kind_of(view)}"
            )
