"""The baseline that has learned nothing and looks at nothing but colors in places."""

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from selfsup.errors import require


class RawPixels(nn.Module):
    """A "backbone" whose features are the pixels themselves, averaged down to a small square.

    Args:
        size: side of the square in pixels, > 0; the features are its 3 * size * size values.

    Raises:
        ValueError: if ``size`` is not positive.
    """

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        require(size >= 1, "size", "must be > 0", got=size)
        self.size = size
        self.out_dim = 3 * size * size

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, 3 * size * size)."""
        return adaptive_avg_pool2d(images, self.size).flatten(1)
