"""Names of RegNet's tensors: ours are timm's; ClassyVision's, which VISSL uses, and torchvision's are alike.

Source: classy_vision/models/anynet.py and torchvision/models/regnet.py. Their blocks count from 0, ours from 1.
"""

import re
from typing import Any

from torch import nn

from selfsup.weights.rules.architecture import Architecture
from selfsup.weights.rules.counterpart import Counterpart, from_timm
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
    **{ours: theirs for ours, theirs in CLASSY.items() if ours.startswith(("conv1", "conv2"))},
    "se.fc1": "f.se.fc1",
    "se.fc2": "f.se.fc2",
    "conv3.conv": "f.c.0",
    "conv3.bn": "f.c.1",
    "downsample.conv": "proj.0",
    "downsample.bn": "proj.1",
}
"""Parts of a block, ours to torchvision's."""


def block_rules(parts: dict[str, str], block: str) -> tuple[Rule, ...]:
    """Theirs to ours; the two groups of ``block`` are the stage from 1 and the block from 0."""

    def renamed(ours: str) -> Rule:
        def name(match: re.Match[str]) -> str:
            stage, number, tensor = match.groups()
            return f"s{stage}.b{int(number) + 1}.{ours}.{tensor}"

        return Rule(rf"{block}\.{re.escape(parts[ours])}\.(\w+)", name)

    return tuple(renamed(ours) for ours in parts)


def stem_rules(stem: str) -> tuple[Rule, ...]:
    """Theirs to ours, for a stem that numbers its convolution 0 and its batch norm 1."""
    return (Rule(rf"{stem}\.0\.(\w+)", r"stem.conv.\1"), Rule(rf"{stem}\.1\.(\w+)", r"stem.bn.\1"))


def _to_torchvision(ours: str, theirs: str) -> Rule:
    def name(match: re.Match[str]) -> str:
        stage, block, tensor = match.groups()
        return f"trunk_output.block{stage}.block{stage}-{int(block) - 1}.{theirs}.{tensor}"

    return Rule(rf"s(\d)\.b(\d+)\.{re.escape(ours)}\.(\w+)", name)


TO_TORCHVISION = (
    Rule(r"stem\.conv\.(\w+)", r"stem.0.\1"),
    Rule(r"stem\.bn\.(\w+)", r"stem.1.\1"),
    *(_to_torchvision(ours, theirs) for ours, theirs in TORCHVISION.items()),
)


def in_torchvision(architecture: Architecture, backbone: Any) -> Counterpart:
    """torchvision's RegNet of the same stages."""
    from torchvision.models.regnet import BlockParams, RegNet

    arguments = {
        "depths": list(architecture.depths),
        "widths": list(architecture.widths),
        "group_widths": list(architecture.group_widths),
        "bottleneck_multipliers": [1.0] * 4,
        "strides": [2] * 4,
        "se_ratio": architecture.squeeze_width / architecture.stem_width or None,
    }
    model = RegNet(BlockParams(**arguments), stem_width=architecture.stem_width)
    model.fc = nn.Identity()
    stated = ", ".join(f"{name}={value}" for name, value in arguments.items())
    made = f"RegNet(BlockParams({stated}), stem_width={architecture.stem_width})"
    code = f"from torchvision.models.regnet import BlockParams, RegNet; model = {made}; model.fc = torch.nn.Identity()"
    return Counterpart(model, code, TO_TORCHVISION)


_TIMM = ("004", "008", "016", "032", "040", "080", "160", "320", "640", "1280", "2560")
in_timm = from_timm(tuple(f"regnety_{size}" for size in _TIMM))
