"""Names of ResNet's tensors. Ours are torchvision's, and so are those of most files in the world."""

from typing import Any

from selfsup.weights.rules.counterpart import of_timm
from selfsup.weights.rules.rule import Rule

TRUNK = (Rule(r"((?:conv1|bn1|layer[1-4])\..+)", r"\1"),)

_CHILDREN = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}

BY_NUMBER = tuple(Rule(rf"{number}\.(.+)", rf"{name}.\1") for number, name in _CHILDREN.items())
"""For ``nn.Sequential(*resnet.children())``: 2, 3 and 8 are ReLU and pooling, which have no tensors."""

_NAMES = tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152))


def in_torchvision(backbone: Any) -> list[str]:
    """torchvision's ResNets."""
    made = "import torchvision; model = torchvision.models.{}(); model.fc = torch.nn.Identity()"
    return [made.format(name) for name in _NAMES]


def in_timm(backbone: Any) -> list[str]:
    """timm's ResNets."""
    return of_timm(*_NAMES)
