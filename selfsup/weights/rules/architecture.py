"""Which network a state dict belongs to, read off its names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Architecture:
    """A network, as far as its tensors show it."""

    family: str  # RegNet, ResNet, BiTResNet or ViT
    depths: tuple[int, ...]  # blocks of each stage; one number for a ViT
    widths: tuple[int, ...]  # channels each stage puts out; one number for a ViT
    group_widths: tuple[int, ...] = ()  # channels per group of RegNet's 3x3 convolutions, by stage
    stem: int = 0  # side of the first convolution's kernel, for a ViT of its patch
    stem_width: int = 0  # channels it puts out
    tokens: int = 0  # positions of a ViT, the class token's included
    squeeze_width: int = 0  # channels inside the squeeze-and-excitation of a RegNet's first block; 0 without
    selective: bool = False  # whether a ResNet has selective kernels

    def __str__(self) -> str:
        facts = f"{self.family} with {_joined(self.depths)} blocks of width {_joined(self.widths)}"
        facts += f" in groups of {_joined(self.group_widths)}" if self.group_widths else ""
        if self.family == "ViT":
            return f"{facts}, patches of {self.stem} px and {self.tokens} positions"
        facts += f" after a {self.stem}x{self.stem} stem of {self.stem_width}"
        facts += f", squeezed to {self.squeeze_width} in the first block" if self.squeeze_width else ""
        return f"{facts}, with selective kernels" if self.selective else facts


def _joined(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def identify(tensors: Mapping[str, Tensor]) -> Architecture | None:
    """The network of a state dict with our names, or None if it is none of those that are known."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for family in (_regnet, _residual, _vit):
        try:
            found = family(shapes)
        except (KeyError, IndexError):  # half of it is missing
            continue
        if found is not None:
            return found
    return None


Shapes = Mapping[str, tuple[int, ...]]


def _regnet(shapes: Shapes) -> Architecture | None:
    if "s1.b1.conv1.conv.weight" not in shapes:
        return None
    depths = tuple(_count(shapes, rf"s{stage}\.b(\d+)\.conv1\.conv\.weight") for stage in _stages(shapes, r"s(\d)\..+"))
    convs = [
        (f"s{stage}.b1.conv1.conv.weight", f"s{stage}.b1.conv2.conv.weight") for stage in range(1, 1 + len(depths))
    ]
    stem = shapes["stem.conv.weight"]
    return Architecture(
        "RegNet",
        depths,
        widths=tuple(shapes[first][0] for first, _ in convs),
        group_widths=tuple(shapes[second][1] for _, second in convs),
        stem=stem[2],
        stem_width=stem[0],
        squeeze_width=shapes.get("s1.b1.se.fc1.weight", (0,))[0],
    )


def _residual(shapes: Shapes) -> Architecture | None:
    if "layer1.0.conv1.weight" not in shapes:
        return None
    stages = _stages(shapes, r"layer(\d)\..+")
    depths = tuple(_count(shapes, rf"layer{stage}\.(\d+)\.conv1\.weight") for stage in stages)
    last = 3 if "layer1.0.conv3.weight" in shapes else 2
    stem = shapes["conv1.weight"] if "conv1.weight" in shapes else shapes["conv1.6.weight"]
    return Architecture(
        "BiTResNet" if "layer1.0.norm1.weight" in shapes else "ResNet",
        depths,
        widths=tuple(shapes[f"layer{stage}.0.conv{last}.weight"][0] for stage in stages),
        stem=stem[2],
        stem_width=stem[0],
        selective="layer1.0.conv2.conv.weight" in shapes,
    )


def _vit(shapes: Shapes) -> Architecture | None:
    if "patch_embed.proj.weight" not in shapes:
        return None
    patch = shapes["patch_embed.proj.weight"]
    depth = _count(shapes, r"blocks\.(\d+)\.norm1\.weight")
    return Architecture("ViT", (depth,), (patch[0],), stem=patch[2], tokens=shapes["pos_embed"][1])


def _stages(shapes: Shapes, pattern: str) -> list[int]:
    return sorted({int(match[1]) for name in shapes if (match := re.fullmatch(pattern, name))})


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)
