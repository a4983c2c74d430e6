"""ResNet of any depth and width, with torchvision's module names."""

from collections.abc import Collection
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones.base import NUM_STAGES, check_stages
from selfsup.backbones.checkpointing import run_blocks
from selfsup.backbones.resnet_blocks import BasicBlock, Bottleneck, SelectiveKernelBottleneck
from selfsup.errors import ConfigError, nearest
from selfsup.layers.drop_path import set_drop_path
from selfsup.layers.he_conv import HeConv2d
from selfsup.registry import BACKBONES

BASE_WIDTH = 64  # He et al. 2016, arXiv:1512.03385, table 1: channels of the stem and of the first stage's 3x3
STEMS = ("imagenet", "cifar")

BlockClass = type[BasicBlock] | type[Bottleneck] | type[SelectiveKernelBottleneck]

DEPTHS: dict[int, tuple[BlockClass, tuple[int, int, int, int]]] = {
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
        selective_kernels: the networks of SimCLR v2 called +SK: every 3x3 of the bottlenecks becomes a mixture of two,
            the 7x7 of the stem three 3x3, and shortcuts that change shape pool before they convolve. Depths from 50.
        zero_init_residual: start the last batch norm of each block at zero, so that blocks begin as identities.
        drop_path: share of the images whose residual branch is left out in the last block, falling to 0 in the first;
            in training alone.
        checkpoint_stages: stages, from 1, whose activations are computed again in the backward pass.

    Raises:
        ConfigError: if the depth or stem is unknown, the width leaves no channels, or selective kernels are wanted in
            a network without bottlenecks.

    Source: He et al. 2016, arXiv:1512.03385; zero initialization: Goyal et al. 2017, arXiv:1706.02677, section 5.1;
        CIFAR stem: Chen et al. 2020, arXiv:2002.05709, appendix B.9; selective kernels: Chen et al. 2020,
        arXiv:2006.10029, as in tf2/resnet.py of google-research/simclr, from which two things differ: the stem's
        pooling is padded on both sides, as torchvision's is, where TensorFlow pads maps of even size on the far side
        only; and convolutions are initialized as the plain network's.
    """

    def __init__(
        self,
        depth: int,
        width: float = 1,
        *,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        selective_kernels: bool = False,
        zero_init_residual: bool = False,
        drop_path: float = 0.0,
        checkpoint_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError.at("depth", f"must be one of {', '.join(map(str, DEPTHS))}", got=depth)
        if stem not in STEMS:
            raise ConfigError.at("stem", f"no stem is called {stem!r}", expected=nearest(stem, STEMS))
        channels = round(BASE_WIDTH * width)
        if channels < 1 + selective_kernels:
            raise ConfigError.at(
                "width",
                f"must leave at least {'two channels' if selective_kernels else 'one channel'} of {BASE_WIDTH}",
                got=width,
            )
        block_class, blocks = DEPTHS[depth]
        if selective_kernels:
            if block_class is BasicBlock:
                raise ConfigError.at("selective_kernels", f"must be false for depths below 50, got depth={depth}")
            block_class = SelectiveKernelBottleneck
        self.stem = stem
        self.checkpoint_stages = check_stages(checkpoint_stages)
        self.conv1 = _first_conv(channels, stem, three=selective_kernels)
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
        every = [module for module in self.modules() if isinstance(module, block_class)]
        set_drop_path(every, drop_path)
        if zero_init_residual:
            for block in every:
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

    def not_in_weights(self) -> dict[str, Any]:
        """Nothing: every argument that decides about features shows in names and shapes."""
        return {}

    def _run_stem(self, images: Tensor) -> Tensor:
        maps = F.relu(self.bn1(self.conv1(images)), inplace=True)
        return F.max_pool2d(maps, 3, stride=2, padding=1) if self.stem == "imagenet" else maps

    def _run_stage(self, number: int, maps: Tensor) -> Tensor:
        stage = self.get_submodule(f"layer{number}")
        return run_blocks(stage.children(), maps, checkpointed=number in self.checkpoint_stages)


def _first_conv(channels: int, stem: str, *, three: bool) -> nn.Module:
    """What stands before the first batch norm: one convolution, or ResNet-D's three (arXiv:1812.01187, section 4.2)."""
    if stem == "cifar":
        return HeConv2d(3, channels, 3, padding=1, bias=False)
    if not three:
        return HeConv2d(3, channels, 7, stride=2, padding=3, bias=False)
    half = channels // 2
    return nn.Sequential(
        HeConv2d(3, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        HeConv2d(half, half, 3, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        HeConv2d(half, channels, 3, padding=1, bias=False),
    )
