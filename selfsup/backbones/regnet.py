"""RegNetY, the backbone of SEER: a plain stem and four stages of grouped bottlenecks with squeeze-and-excitation.

Module names are timm's (``s1.b1.conv1.conv``), so that its weights load as they are.
"""

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones.base import NUM_STAGES, check_stages
from selfsup.backbones.checkpointing import run_blocks
from selfsup.backbones.regnet_params import RegNetParams, Stages, fit_groups
from selfsup.backbones.regnet_variants import VARIANTS
from selfsup.errors import ConfigError, nearest
from selfsup.layers.drop_path import DropPath, set_drop_path
from selfsup.layers.he_conv import HeConv2d
from selfsup.layers.squeeze_excite import SqueezeExcite
from selfsup.registry import BACKBONES


class ConvBN(nn.Module):
    """Convolution without bias, then batch norm, then ReLU unless ``relu`` is false."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = HeConv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = relu

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of ``in_channels`` to maps of ``out_channels``, smaller by the stride."""
        maps = self.bn(self.conv(maps))
        return F.relu(maps, inplace=True) if self.relu else maps


class YBlock(nn.Module):
    """Residual bottleneck of ratio 1: 1x1, grouped 3x3, squeeze-and-excitation, 1x1.

    Args:
        in_channels: width of the input; also decides the width inside squeeze-and-excitation.
        channels: width of the output.
        stride: stride of the 3x3 convolution and of the shortcut.
        group_width: channels per group of the 3x3 convolution.
        se_ratio: width inside squeeze-and-excitation over ``in_channels``; None leaves it out.
    """

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, group_width: int, se_ratio: float | None
    ) -> None:
        super().__init__()
        self.conv1 = ConvBN(in_channels, channels)
        self.conv2 = ConvBN(channels, channels, kernel=3, stride=stride, groups=channels // group_width)
        self.se = nn.Identity() if se_ratio is None else SqueezeExcite(channels, round(se_ratio * in_channels))
        self.conv3 = ConvBN(channels, channels, relu=False)
        self.drop_path = DropPath()
        reshaped = stride != 1 or in_channels != channels
        self.downsample = ConvBN(in_channels, channels, stride=stride, relu=False) if reshaped else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        residual = self.conv3(self.se(self.conv2(self.conv1(maps))))
        return F.relu(self.drop_path(residual) + self.downsample(maps), inplace=True)


@BACKBONES.register_module()
class RegNet(nn.Module):
    """RegNetY by name, by the five numbers of its width rule, or by its stages.

    Args:
        arch: a name such as ``'y_8gf'``; see ``regnet_variants``.
        depth: with ``w_0``, ``w_a``, ``w_m`` and ``group_width``: number of blocks.
        w_0: width of the first block before quantization.
        w_a: growth of the width from block to block.
        w_m: ratio of the widths of neighboring stages.
        depths: with ``widths`` and ``group_width``: blocks of each of the four stages.
        widths: channels of each stage, multiples of the group width or not above it.
        group_width: channels per group of the 3x3 convolutions.
        stem_width: channels after the stem.
        se_ratio: width inside squeeze-and-excitation over the width of the block's input; None leaves it out (RegNetX).
        drop_path: share of the images whose residual branch is left out in the last block, falling to 0 in the first;
            in training alone.
        checkpoint_stages: stages, from 1, whose activations are computed again in the backward pass.

    Raises:
        ConfigError: if the name is unknown, the numbers are incomplete or say the same thing twice, or do not give
            four stages that the groups divide.

    Source: Radosavovic et al. 2020, arXiv:2003.13678; Goyal et al. 2021, arXiv:2103.01988. Initialized as in
        ClassyVision: convolutions N(0, 2 / (kernel area * out channels)), batch norm 1 and 0.
    """

    def __init__(
        self,
        arch: str | None = None,
        *,
        depth: int | None = None,
        w_0: float | None = None,
        w_a: float | None = None,
        w_m: float | None = None,
        depths: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        group_width: int | None = None,
        stem_width: int = 32,
        se_ratio: float | None = 0.25,
        drop_path: float = 0.0,
        checkpoint_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        plan = _plan(arch, depth, w_0, w_a, w_m, depths, widths, group_width)
        self.depths, self.widths, self.group_widths = plan.depths, plan.widths, plan.group_widths
        self.out_dim = plan.widths[-1]
        self.checkpoint_stages = check_stages(checkpoint_stages)
        self.stem = ConvBN(3, stem_width, kernel=3, stride=2)
        in_channels = stem_width
        for number, (blocks, channels, group) in enumerate(
            zip(plan.depths, plan.widths, plan.group_widths, strict=True), start=1
        ):
            stage = nn.Sequential()
            for block in range(1, blocks + 1):
                stage.add_module(
                    f"b{block}",
                    YBlock(in_channels, channels, stride=2 if block == 1 else 1, group_width=group, se_ratio=se_ratio),
                )
                in_channels = channels
            self.add_module(f"s{number}", stage)
        set_drop_path([module for module in self.modules() if isinstance(module, YBlock)], drop_path)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W)."""
        maps = self.stem(images)
        for number in range(1, NUM_STAGES + 1):
            maps = self._run_stage(number, maps)
        return maps.mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The four stages' outputs, strides 4, 8, 16 and 32, of images of shape (B, 3, H, W)."""
        outputs = [self.stem(images)]
        for number in range(1, NUM_STAGES + 1):
            outputs.append(self._run_stage(number, outputs[-1]))
        return outputs[1:]

    def not_in_weights(self) -> dict[str, Any]:
        """Nothing: every argument that decides about features shows in names and shapes."""
        return {}

    def _run_stage(self, number: int, maps: Tensor) -> Tensor:
        stage = self.get_submodule(f"s{number}")
        return run_blocks(stage.children(), maps, checkpointed=number in self.checkpoint_stages)


def _plan(
    arch: str | None,
    depth: int | None,
    w_0: float | None,
    w_a: float | None,
    w_m: float | None,
    depths: Sequence[int] | None,
    widths: Sequence[int] | None,
    group_width: int | None,
) -> Stages:
    """The stages that the constructor's arguments describe, whichever of the three ways was taken."""
    rule = {"depth": depth, "w_0": w_0, "w_a": w_a, "w_m": w_m}
    explicit = {"depths": depths, "widths": widths}
    given = {**rule, **explicit, "group_width": group_width}
    named = {name for name, value in given.items() if value is not None}
    if arch is not None:
        if named:
            raise ConfigError.at("", f"arch={arch!r} says everything", expected=f"remove {', '.join(sorted(named))}")
        if arch not in VARIANTS:
            raise ConfigError.at("arch", f"no architecture is called {arch!r}", expected=nearest(arch, VARIANTS))
        return VARIANTS[arch].stages()
    if depth is not None and w_0 is not None and w_a is not None and w_m is not None and group_width is not None:
        if depths is not None or widths is not None:
            raise ConfigError.at(
                "", "depths and widths follow from depth, w_0, w_a and w_m", expected="give one or the other"
            )
        if min(depth, w_0, group_width) <= 0 or w_a < 0 or w_m <= 1:
            raise ConfigError.at(
                "",
                f"depth, w_0 and group_width must be > 0, w_a >= 0 and w_m > 1, got depth={depth}, w_0={w_0}"
                f", w_a={w_a}, w_m={w_m}, group_width={group_width}",
            )
        plan = RegNetParams(depth, w_0, w_a, w_m, group_width).stages()
        if len(plan.depths) != NUM_STAGES:
            raise ConfigError.at(
                "", f"the rule gives {len(plan.depths)} stages of widths {plan.widths}", expected="must be four"
            )
        return plan
    if depths is not None and widths is not None and group_width is not None and len(named) == 3:
        if len(depths) != NUM_STAGES or len(widths) != NUM_STAGES or min(*depths, *widths, group_width) <= 0:
            raise ConfigError.at(
                "",
                f"depths and widths must be four positive numbers each and group_width > 0, got depths={tuple(depths)}"
                f", widths={tuple(widths)}, group_width={group_width}",
            )
        plan = fit_groups(depths, widths, group_width)
        if plan.widths != tuple(widths):
            raise ConfigError.at(
                "widths",
                f"groups of {group_width} channels do not divide {tuple(widths)}",
                expected=f"the nearest that fit are {plan.widths}",
            )
        return plan
    raise ConfigError.at(
        "",
        "give arch, or depth, w_0, w_a, w_m and group_width, or depths, widths and group_width; "
        f"got {', '.join(sorted(named)) or 'none of them'}",
    )
