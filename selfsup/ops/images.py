"""Images as arrays."""

import numpy as np

BACKGROUND = 127  # mid-gray: what a transparent image is laid on, the level that normalizes to about zero


def opaque(image: np.ndarray) -> np.ndarray:
    """The image without its alpha channel, laid on mid-gray; uint8 (H, W, 3)."""
    if image.shape[-1] == 3:
        return image
    alpha = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * alpha + BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)
