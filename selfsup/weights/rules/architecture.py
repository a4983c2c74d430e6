"""Which network a state dict with our names belongs to, as far as its names and shapes show it."""

import re
from collections.abc import Mapping

from torch import Tensor

_FAMILIES = {  # the tensor that shows it; those, by stage and block, whose most channels are a stage's width
    "RegNet": ("s1.b1.conv1.conv.weight", r"s(\d)\.b(\d+)\.conv\d\.conv\.weight"),
    "BiTResNet": ("layer1.0.norm1.weight", r"layer(\d)\.(\d+)\.conv\d\.weight"),
    "ResNet": ("layer1.0.bn1.weight", r"layer(\d)\.(\d+)\.conv\d\.weight"),
    "ViT": ("patch_embed.proj.weight", r"(blocks)\.(\d+)\.norm1\.weight"),
}


def family(tensors: Mapping[str, Tensor]) -> str:
    """RegNet, BiTResNet, ResNet or ViT; empty if it is none of those."""
    return next((name for name, (marker, _) in _FAMILIES.items() if marker in tensors), "")


def described(tensors: Mapping[str, Tensor]) -> str:
    """A network in words: its family, and the blocks and the width of each stage; empty if the family is not known."""
    if not (name := family(tensors)):
        return ""
    blocks: dict[str, set[str]] = {}
    widths: dict[str, int] = {}
    for tensor in tensors:
        if match := re.fullmatch(_FAMILIES[name][1], tensor):
            stage, block = match.groups()
            blocks.setdefault(stage, set()).add(block)
            widths[stage] = max(widths.get(stage, 0), tensors[tensor].shape[0])
    stages = sorted(blocks)
    depths = "-".join(str(len(blocks[stage])) for stage in stages)
    described = f"{name} with {depths} blocks of width {'-'.join(str(widths[stage]) for stage in stages)}"
    grouped = tensors.get("s1.b1.conv2.conv.weight")
    return described if grouped is None else f"{described} in groups of {grouped.shape[1]}"
