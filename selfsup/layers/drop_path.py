"""Residual branches that are left out for some images: stochastic depth."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selfsup.errors import require


class DropPath(nn.Module):
    """In training, zero for a share of the images and the others in proportion larger; otherwise nothing.

    Attributes:
        rate: the share, in [0, 1).

    Source: Huang et al. 2016, arXiv:1603.09382. As in timm, what is kept is enlarged in training; the paper shrinks it
        at the test instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def forward(self, residual: Tensor) -> Tensor:
        """A residual branch's output (B, ...), of each image all or none."""
        if not self.training or not self.rate:
            return residual
        kept = torch.rand(len(residual), *[1] * (residual.ndim - 1), device=residual.device) >= self.rate
        return residual * kept.to(residual.dtype) / (1 - self.rate)

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"


def set_drop_path(blocks: Sequence[nn.Module], rate: float) -> None:
    """Give residual blocks their rates: 0 in the first, ``rate`` in the last, in equal steps.

    Args:
        blocks: in order; each :class:`DropPath` within one gets its block's rate.
        rate: in [0, 1).

    Raises:
        ConfigError: if the rate is out of range.
    """
    require(0 <= rate < 1, "drop_path", "must be in [0, 1)", got=rate)
    for number, block in enumerate(blocks):
        for module in block.modules():
            if isinstance(module, DropPath):
                module.rate = rate * number / max(1, len(blocks) - 1)
