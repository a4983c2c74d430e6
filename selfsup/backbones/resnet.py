"""ResNet of any depth and width, with torchvision's module names."""

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones.base import NUM_STAGES, check_stages
from selfsup.backbones.checkpointing import run_blocks
from selfsup.errors import ConfigError, did_you_mean
from selfsup.layers.he_conv import HeConv2d
from selfsup.registry import BACKBONES

BASE_WIDTH = 64  # He et al. 2016, arXiv:1512.03385, table 1: channels of the stem and of the first stage's 3x3
STEMS = ("imagenet", "cifar")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = HeConv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = HeConv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The batch norm whose output meets the shortcut."""
        return self.bn2

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = self.bn2(self.conv2(residual))
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
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)), inplace=True)


DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@BACKBONES.register_module()
class ResNet(nn.Module):
    """ResNet v1.5 without its classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width: factor on every layer's channels, stem included: 1, 2, 4 and 5 are SimCLR's and SwAV's wide networks, a
            fraction gives a network small enough for a demonstration.
        stem: ``'imagenet'`` (7x7 of stride 2, then pooling: maps at strides 4, 8, 16, 32) or ``'cifar'`` (3x3 of
            stride 1, no pooling: strides 1, 2, 4, 8).
        zero_init_residual: start the last batch norm of each block at zero, so that blocks begin as identities.
        checkpoint_stages: stages, from 1, whose activations are computed again in the backward pass.

    Raises:
        ConfigError: if the depth or stem is unknown, or the width leaves no channels.

    Source: He et al. 2016, arXiv:1512.03385; zero initialisation: Goyal et al. 2017, arXiv:1706.02677, section 5.1;
        CIFAR stem: Chen et al. 2020, arXiv:2002.05709, appendix B.9.
    """

    def __init__(
        self,
        depth: int,
        width: float = 1,
        *,
        stem: str = "imagenet",
        zero_init_residual: bool = False,
        checkpoint_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(f"ResNet.depth: must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
        if stem not in STEMS:
            raise ConfigError(f"ResNet.stem: no stem is called {stem!r}{did_you_mean(stem, STEMS)}")
        channels = round(BASE_WIDTH * width)
        if channels < 1:
            raise ConfigError(f"ResNet.width: must leave at least one channel of {BASE_WIDTH}, got {width!r}")
        block_class, blocks = DEPTHS[depth]
        self.stem = stem
        self.checkpoint_stages = check_stages(checkpoint_stages, "ResNet")
        self.conv1 = (
            HeConv2d(3, channels, 7, stride=2, padding=3, bias=False)
            if stem == "imagenet"
            else HeConv2d(3, channels, 3, padding=1, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(channels)
        in_channels = channels
        for number in range(1, NUM_STAGES + 1):
            stage = nn.Sequential()
            for index in range(blocks[number - 1]):
                stride = 2 if index == 0 and number > 1 else 1
                stage.append(block_class(in_channels, channels, stride=stride))
                in_channels = channels * block_class.expansion
            self.add_module(f"layer{number}", stage)
            channels *= 2
        self.out_dim = in_channels
        if zero_init_residual:
            for block in self.modules():
                if isinstance(block, block_class):
                    nn.init.zeros_(block.last_bn.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W)."""
        maps = self._run_stem(images)
        for number in range(1, NUM_STAGES + 1):
            maps = self._run_stage(number, maps)
        return maps.mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The four stages' outputs, finest first, of images of shape (B, 3, H, W)."""
        outputs = [self._run_stem(images)]
        for number in range(1, NUM_STAGES + 1):
            outputs.append(self._run_stage(number, outputs[-1]))
        return outputs[1:]

    def _run_stem(self, images: Tensor) -> Tensor:
        maps = F.relu(self.bn1(self.conv1(images)), inplace=True)
        return F.max_pool2d(maps, 3, stride=2, padding=1) if self.stem == "imagenet" else maps

    def _run_stage(self, number: int, maps: Tensor) -> Tensor:
        stage = self.get_submodule(f"layer{number}")
        return run_blocks(stage.children(), maps, checkpointed=number in self.checkpoint_stages)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        HeConv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )
