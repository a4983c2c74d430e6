"""Images as arrays."""

import numpy as np

MID_GRAY = (127, 127, 127)
"""The level that normalizes to about zero."""


def on_background(image: np.ndarray, color: tuple[int, int, int] = MID_GRAY) -> np.ndarray:
    """Lay an image with an alpha channel on a color.

    Args:
        image: uint8, (H, W, 3), returned as it is, or (H, W, 4) with straight alpha.
        color: RGB in [0, 255].

    Returns:
        uint8, (H, W, 3).
    """
    if image.shape[-1] == 3:
        return image
    alpha = image[..., 3:].astype(np.uint16)
    behind = np.array(color, np.uint16)
    return ((image[..., :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)
