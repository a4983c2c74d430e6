"""Selective kernels: two convolutions, mixed channel by channel as the whole image asks."""

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.layers.he_conv import HeConv2d

RATIO = 0.0625  # Chen et al. 2020, arXiv:2006.10029: the code's flag sk_ratio for every network with selective kernels
MIN_DIM = 32  # tf2/resnet.py of google-research/simclr: min_dim
BRANCHES = 2


class SelectiveKernelConv2d(nn.Module):
    """Two 3x3 convolutions with batch norm and ReLU, and their mixture.

    Args:
        in_channels: channels of the input.
        channels: channels of each branch and of the output.
        stride: of both convolutions.

    Source: Li et al. 2019, arXiv:1903.06586, section 3.1, as in tf2/resnet.py of google-research/simclr: both kernels
        are 3x3 (Li et al. have a dilated one), and the mixing layers have no bias.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        mixing_channels = max(int(channels * RATIO), MIN_DIM)
        self.conv = HeConv2d(in_channels, BRANCHES * channels, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(BRANCHES * channels)
        self.mix1 = HeConv2d(channels, mixing_channels, 1, bias=False)
        self.mix_bn = nn.BatchNorm2d(mixing_channels)
        self.mix2 = HeConv2d(mixing_channels, BRANCHES * channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        first, second = F.relu(self.bn(self.conv(maps)), inplace=True).chunk(BRANCHES, dim=1)
        pooled = (first + second).mean((2, 3), keepdim=True)
        scores = self.mix2(F.relu(self.mix_bn(self.mix1(pooled)), inplace=True))
        shares = scores.unflatten(1, (BRANCHES, -1)).softmax(1)
        return first * shares[:, 0] + second * shares[:, 1]
