"""What ResNets are made of: residual blocks and their shortcuts, with torchvision's module names."""

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.layers.drop_path import DropPath
from selfsup.layers.he_conv import HeConv2d
from selfsup.layers.selective_kernel import SelectiveKernelConv2d


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = HeConv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = HeConv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.drop_path = DropPath()
        self.downsample = _shortcut(in_channels, channels, stride)

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The batch norm whose output meets the shortcut."""
        return self.bn2

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        residual = self.drop_path(residual)
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the stride is on the 3x3 (ResNet v1.5)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = HeConv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = HeConv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = HeConv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.drop_path = DropPath()
        self.downsample = _shortcut(in_channels, out_channels, stride)

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The batch norm whose output meets the shortcut."""
        return self.bn3

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        residual = self.drop_path(residual)
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)), inplace=True)


class SelectiveKernelBottleneck(nn.Module):
    """A bottleneck whose 3x3 has selective kernels and whose shortcut is ResNet-D's.

    Source: Chen et al. 2020, arXiv:2006.10029, as in tf2/resnet.py of google-research/simclr.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = HeConv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = SelectiveKernelConv2d(channels, channels, stride=stride)
        self.conv3 = HeConv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.drop_path = DropPath()
        self.downsample = _pooled_shortcut(in_channels, out_channels, stride)

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The batch norm whose output meets the shortcut."""
        return self.bn3

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = self.bn3(self.conv3(self.conv2(residual)))
        residual = self.drop_path(residual)
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)), inplace=True)


class ShortcutPool(nn.Module):
    """The mean of each 2x2 square, whose far edge is padded as TensorFlow does it.

    At stride 1 the squares that overhang the far edge take the mean of what is inside; at stride 2 they count zeros,
    which only maps of odd size can notice.

    Args:
        stride: 1 or 2.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, C, H, W) to (B, C, H / stride, W / stride), rounded up."""
        # Repeating the last row and column leaves the mean of the part inside unchanged.
        padded = F.pad(maps, (0, 1, 0, 1), mode="replicate" if self.stride == 1 else "constant")
        return F.avg_pool2d(padded, 2, self.stride)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        HeConv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def _pooled_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """ResNet-D's: it looks at every position, where the plain one skips three of four.

    Source: He et al. 2018, arXiv:1812.01187, section 4.2. The code of SimCLR v2 pools at stride 1 too.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        ShortcutPool(stride), HeConv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )
