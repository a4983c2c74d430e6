"""ResNet-v2 with group norm and weight standardization: the network of Big Transfer."""

from collections.abc import Collection
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones.base import NUM_STAGES, check_stages
from selfsup.backbones.checkpointing import run_blocks
from selfsup.errors import ConfigError, nearest, require
from selfsup.layers.drop_path import DropPath, set_drop_path
from selfsup.layers.he_conv import HeConv2d
from selfsup.layers.std_conv import StdConv2d
from selfsup.registry import BACKBONES

BASE_WIDTH = 64  # channels of the root and of the first stage's 3x3, as in He et al. 2016, arXiv:1603.05027
EXPANSION = 4
NORMS = ("gn", "bn")
STEMS = ("imagenet", "cifar")

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    14: (1, 1, 1, 1),  # not the paper's: small enough for a demonstration
    26: (2, 2, 2, 2),  # likewise
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class PreActivationBottleneck(nn.Module):
    """A norm and ReLU before each of a 1x1, a 3x3 and a 1x1 convolution, and a shortcut.

    The stride is on the 3x3. Where the shape changes the shortcut is a convolution of what the first norm and ReLU
    give, without a norm of its own; elsewhere it is the input as it came.

    Args:
        in_channels: channels of the input.
        channels: channels of the 3x3; the output has four times as many.
        stride: of the 3x3 and of the shortcut.
        num_groups: of each group norm; None for batch norm.
        eps: of the weight standardization; None for convolutions without.
    """

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, num_groups: int | None, eps: float | None
    ) -> None:
        super().__init__()
        out_channels = channels * EXPANSION
        self.norm1 = _norm(in_channels, num_groups)
        self.conv1 = _conv(in_channels, channels, 1, eps=eps)
        self.norm2 = _norm(channels, num_groups)
        self.conv2 = _conv(channels, channels, 3, stride=stride, padding=1, eps=eps)
        self.norm3 = _norm(channels, num_groups)
        self.conv3 = _conv(channels, out_channels, 1, eps=eps)
        self.drop_path = DropPath()
        reshaped = stride != 1 or in_channels != out_channels
        self.downsample = _conv(in_channels, out_channels, 1, stride=stride, eps=eps) if reshaped else None

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        activated = F.relu(self.norm1(maps), inplace=True)
        shortcut = maps if self.downsample is None else self.downsample(activated)
        residual = self.conv1(activated)
        residual = self.conv2(F.relu(self.norm2(residual), inplace=True))
        residual = self.conv3(F.relu(self.norm3(residual), inplace=True))
        return self.drop_path(residual) + shortcut


@BACKBONES.register_module()
class BiTResNet(nn.Module):
    """Big Transfer's ResNet-v2 without its classifier.

    The released models expect images in [-1, 1]. With group norm nothing depends on the other images of the batch, or
    on how many there are; the other three of norm and weight standardization are those of the paper's tables 4 and 5.

    Args:
        depth: 50, 101 or 152; 14 and 26 are small ones of our own.
        width: factor on every layer's channels, root included; the paper's models are 50x1, 50x3, 101x1, 101x3, 152x2
            and 152x4.
        stem: ``'imagenet'`` (7x7 of stride 2, then pooling: maps at strides 4, 8, 16, 32) or ``'cifar'`` (3x3 of
            stride 1, no pooling: strides 1, 2, 4, 8).
        num_groups: groups of every group norm; networks narrower than half the paper's need fewer.
        eps: added to the variance by weight standardization, > 0; timm's BiT models have 1e-8.
        norm: ``'gn'`` or ``'bn'``, in the place of every group norm.
        weight_standardization: False for convolutions as they are.
        drop_path: share of the images whose residual branch is left out in the last block, falling to 0 in the first;
            in training alone.
        checkpoint_stages: stages, from 1, whose activations are computed again in the backward pass.

    Raises:
        ConfigError: if the depth or stem is unknown, the groups do not divide the channels, or eps is not positive.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, and its code. The root's pooling is padded with zeros,
        not with minus infinity. Convolutions are initialized as in :class:`~selfsup.layers.HeConv2d`; their scale does
        not enter the features.
    """

    def __init__(
        self,
        depth: int,
        width: float = 1,
        *,
        stem: str = "imagenet",
        num_groups: int = 32,
        eps: float = 1e-10,
        norm: Literal["gn", "bn"] = "gn",
        weight_standardization: bool = True,
        drop_path: float = 0.0,
        checkpoint_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError.at("depth", f"must be one of {', '.join(map(str, DEPTHS))}", got=depth)
        if stem not in STEMS:
            raise ConfigError.at("stem", f"no stem is called {stem!r}", expected=nearest(stem, STEMS))
        channels = round(BASE_WIDTH * width)
        if num_groups < 1 or channels < 1 or channels % num_groups:
            raise ConfigError.at(
                "", f"num_groups must divide the {channels} channels of width={width!r}", got=num_groups
            )
        require(eps > 0, "eps", "must be > 0", got=eps)
        if norm not in NORMS:
            raise ConfigError.at("norm", f"no norm is called {norm!r}", expected=nearest(norm, NORMS))
        groups = num_groups if norm == "gn" else None
        standardized = eps if weight_standardization else None
        self.stem = stem
        self.num_groups = num_groups
        self.eps = eps
        self.checkpoint_stages = check_stages(checkpoint_stages)
        side, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = _conv(3, channels, side, stride=stride, padding=side // 2, eps=standardized)
        in_channels = channels
        for number, blocks in enumerate(DEPTHS[depth], start=1):
            stage = nn.Sequential()
            for index in range(blocks):
                stride = 2 if index == 0 and number > 1 else 1
                stage.append(
                    PreActivationBottleneck(in_channels, channels, stride=stride, num_groups=groups, eps=standardized)
                )
                in_channels = channels * EXPANSION
            self.add_module(f"layer{number}", stage)
            channels *= 2
        set_drop_path([module for module in self.modules() if isinstance(module, PreActivationBottleneck)], drop_path)
        self.norm = _norm(in_channels, groups)
        self.weight_standardization = weight_standardization
        self.out_dim = in_channels

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W)."""
        maps = self._run_stem(images)
        for number in range(1, NUM_STAGES + 1):
            maps = self._run_stage(number, maps)
        return self._activate(maps).mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The four stages' outputs, finest first, of images of shape (B, 3, H, W).

        The last one has passed the network's final group norm and ReLU, as the pooled features have; the others are
        the raw sums that the next stage normalizes itself.
        """
        outputs = [self._run_stem(images)]
        for number in range(1, NUM_STAGES + 1):
            outputs.append(self._run_stage(number, outputs[-1]))
        return [*outputs[1:NUM_STAGES], self._activate(outputs[NUM_STAGES])]

    def not_in_weights(self) -> dict[str, Any]:
        """The arguments that decide about features and that no tensor tells."""
        told = {"num_groups": self.num_groups, "eps": self.eps}
        return told if self.weight_standardization else {**told, "weight_standardization": False}

    def set_eps(self, eps: float) -> None:
        """Standardize with another eps, for weights of a network that does."""
        self.eps = eps
        for module in self.modules():
            if isinstance(module, StdConv2d):
                module.eps = eps

    def _run_stem(self, images: Tensor) -> Tensor:
        maps = self.conv1(images)
        return F.max_pool2d(F.pad(maps, (1, 1, 1, 1)), 3, stride=2) if self.stem == "imagenet" else maps

    def _run_stage(self, number: int, maps: Tensor) -> Tensor:
        stage = self.get_submodule(f"layer{number}")
        return run_blocks(stage.children(), maps, checkpointed=number in self.checkpoint_stages)

    def _activate(self, maps: Tensor) -> Tensor:
        return F.relu(self.norm(maps), inplace=True)


def _norm(channels: int, num_groups: int | None) -> nn.Module:
    return nn.BatchNorm2d(channels) if num_groups is None else nn.GroupNorm(num_groups, channels)


def _conv(
    in_channels: int, out_channels: int, side: int, *, stride: int = 1, padding: int = 0, eps: float | None
) -> nn.Conv2d:
    if eps is None:
        return HeConv2d(in_channels, out_channels, side, stride=stride, padding=padding, bias=False)
    return StdConv2d(in_channels, out_channels, kernel_size=side, stride=stride, padding=padding, eps=eps)
