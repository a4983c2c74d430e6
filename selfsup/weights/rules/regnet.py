"""Names of RegNet's tensors: ours are timm's; ClassyVision's, which VISSL uses, and torchvision's are alike.

Source: classy_vision/models/anynet.py and torchvision/models/regnet.py. Their blocks count from 0, ours from 1.
"""

import re
from functools import partial
from typing import Any

from selfsup.weights.rules.counterpart import of_timm
from selfsup.weights.rules.rule import Rule

CLASSY = {
    "conv1.conv": "f.a.0",
    "conv1.bn": "f.a.1",
    "conv2.conv": "f.b.0",
    "conv2.bn": "f.b.1",
    "se.fc1": "f.se.excitation.0",
    "se.fc2": "f.se.excitation.2",
    "conv3.conv": "f.c",
    "conv3.bn": "f.final_bn",
    "downsample.conv": "proj",
    "downsample.bn": "bn",
}
"""Parts of a block, ours to ClassyVision's."""

TORCHVISION = {
    **CLASSY,
    **{"se.fc1": "f.se.fc1", "se.fc2": "f.se.fc2", "conv3.conv": "f.c.0", "conv3.bn": "f.c.1"},
    **{"downsample.conv": "proj.0", "downsample.bn": "proj.1"},
}
"""Parts of a block, ours to torchvision's."""


def block_rules(parts: dict[str, str], block: str) -> tuple[Rule, ...]:
    """Theirs to ours; the two groups of ``block`` are the stage from 1 and the block from 0."""

    def name(ours: str, match: re.Match[str]) -> str:
        stage, number, tensor = match.groups()
        return f"s{stage}.b{int(number) + 1}.{ours}.{tensor}"

    return tuple(Rule(rf"{block}\.{re.escape(theirs)}\.(\w+)", partial(name, ours)) for ours, theirs in parts.items())


def stem_rules(stem: str) -> tuple[Rule, ...]:
    """Theirs to ours, for a stem that numbers its convolution 0 and its batch norm 1."""
    return (Rule(rf"{stem}\.0\.(\w+)", r"stem.conv.\1"), Rule(rf"{stem}\.1\.(\w+)", r"stem.bn.\1"))


def in_torchvision(backbone: Any) -> list[str]:
    """torchvision's RegNet of the same stages."""
    stem_width = backbone.stem.conv.out_channels
    squeeze = getattr(backbone.s1.b1.se, "fc1", None)
    arguments = {
        "depths": list(backbone.depths),
        "widths": list(backbone.widths),
        "group_widths": list(backbone.group_widths),
        "bottleneck_multipliers": [1.0] * 4,
        "strides": [2] * 4,
        "se_ratio": None if squeeze is None else squeeze.out_channels / stem_width,
    }
    stated = ", ".join(f"{name}={value}" for name, value in arguments.items())
    made = f"RegNet(BlockParams({stated}), stem_width={stem_width})"
    imports = "from torchvision.models.regnet import BlockParams, RegNet"
    return [f"{imports}; model = {made}; model.fc = torch.nn.Identity()"]


def in_timm(backbone: Any) -> list[str]:
    """timm's RegNetY networks."""
    sizes = ("004", "008", "016", "032", "040", "080", "160", "320", "640", "1280", "2560")
    return of_timm(*(f"regnety_{size}" for size in sizes))
