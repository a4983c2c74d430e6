"""Names of ResNet's tensors. Ours are torchvision's, and so are those of most files in the world."""

from typing import Any

from torch import nn

from selfsup.weights.rules.architecture import Architecture
from selfsup.weights.rules.counterpart import Counterpart, from_timm
from selfsup.weights.rules.rule import Rule

TRUNK = (Rule(r"((?:conv1|bn1|layer[1-4])\..+)", r"\1"),)

_CHILDREN = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}

BY_NUMBER = tuple(Rule(rf"{number}\.(.+)", rf"{name}.\1") for number, name in _CHILDREN.items())
"""For ``nn.Sequential(*resnet.children())``: 2, 3 and 8 are ReLU and pooling, which have no tensors."""

_DEPTHS: dict[tuple[int, ...], int] = {
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}
_BASIC_WIDTH = 512  # channels that a ResNet of basic blocks puts out; 34 has the depths of 50


def in_torchvision(architecture: Architecture, backbone: Any) -> Counterpart | None:
    """torchvision's ResNet of the same depth, if the widths are the usual ones."""
    import torchvision

    depth = _DEPTHS.get(architecture.depths)
    basic = architecture.widths[-1] == _BASIC_WIDTH
    if depth == 50 and basic:
        depth = 34
    usual = architecture.stem == 7 and architecture.stem_width == 64
    if not (depth and usual and basic == (depth < 50)):
        return None
    model = getattr(torchvision.models, f"resnet{depth}")()
    model.fc = nn.Identity()
    return Counterpart(model, f"model = torchvision.models.resnet{depth}(); model.fc = torch.nn.Identity()")


in_timm = from_timm(tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)))
