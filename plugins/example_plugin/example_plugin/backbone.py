"""ConvMixer: one embedding of patches, then blocks that mix places and channels in turn."""

from torch import Tensor, nn

from selfsup.errors import require
from selfsup.registry import BACKBONES


class Residual(nn.Sequential):
    """Layers whose input is added to their output."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of any shape that the layers keep."""
        return super().forward(maps) + maps


@BACKBONES.register_module()
class ConvMixer(nn.Module):
    """Patches mixed by depthwise and pointwise convolutions; every map has the size of the patch grid.

    Args:
        width: channels throughout, > 0.
        depth: blocks, > 0.
        patch: side of a patch in pixels, > 0.
        kernel: side of the depthwise convolutions, odd.

    Raises:
        ConfigError: if a size is not positive or the kernel is even.

    Source: Trockman and Kolter 2022, arXiv:2201.09792, section 2.
    """

    def __init__(self, width: int, depth: int, *, patch: int = 7, kernel: int = 9) -> None:
        super().__init__()
        for name, size in (("width", width), ("depth", depth), ("patch", patch)):
            require(size > 0, name, "must be > 0", got=size)
        require(kernel > 0 and kernel % 2 == 1, "kernel", "must be odd", got=kernel)
        self.out_dim = width
        self.embedding = nn.Sequential(nn.Conv2d(3, width, patch, stride=patch), nn.GELU(), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(_block(width, kernel) for _ in range(depth)))

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, width), of images of shape (B, 3, H, W)."""
        return self.blocks(self.embedding(images)).mean((2, 3))


def _block(width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        Residual(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width),
            nn.GELU(),
            nn.BatchNorm2d(width),
        ),
        nn.Conv2d(width, width, 1),
        nn.GELU(),
        nn.BatchNorm2d(width),
    )
