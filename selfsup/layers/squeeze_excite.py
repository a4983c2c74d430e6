"""Squeeze-and-excitation: channels weighted by what the whole image shows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.layers.he_conv import HeConv2d


class SqueezeExcite(nn.Module):
    """Multiply each channel by a gate in (0, 1) computed from all channels' means.

    Args:
        channels: width of the input and the output.
        reduced_channels: width of the layer between the two projections. RegNet takes it from the block's *input*
            width, so it is a number here and not a ratio.

    Source: Hu et al. 2018, arXiv:1709.01507, section 3; both projections have a bias.
    """

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.fc1 = HeConv2d(channels, reduced_channels, 1)
        self.fc2 = HeConv2d(reduced_channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Gate the channels of ``maps``, shape (B, channels, H, W); same shape out."""
        squeezed = maps.mean((2, 3), keepdim=True)
        return maps * torch.sigmoid(self.fc2(F.relu(self.fc1(squeezed))))
