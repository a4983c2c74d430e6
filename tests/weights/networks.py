"""Networks of other libraries with random weights, and how features are compared."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.regnet import BlockParams, RegNet

from selfsup.errors import CheckpointError, Problem
from selfsup.registry import BACKBONES
from selfsup.weights.card import UNKNOWN_INPUT, weights_card
from selfsup.weights.load import load_backbone
from selfsup.weights.write import write_weights

TINY = {"depths": (1, 2, 1, 1), "widths": (16, 24, 32, 48), "group_width": 8}
REGNET: dict[str, Any] = {"type": "RegNet", **TINY}
RESNET: dict[str, Any] = {"type": "ResNet", "depth": 18}
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
REGNET_STAGES = [f"trunk_output.block{number}" for number in (1, 2, 3, 4)]


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode, with nothing left at a value that a forgotten tensor would have too."""
    generator = torch.Generator().manual_seed(seed)
    saved = model.state_dict()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name not in saved:  # computed from the sizes, such as positions
            continue
        with torch.no_grad():
            if not tensor.is_floating_point():
                tensor.fill_(7)
            elif tensor.ndim == 1:
                tensor.uniform_(0.5, 1.0, generator=generator)
                if name.endswith(("bias", "running_mean")):
                    tensor.sub_(0.75).mul_(0.4)
            elif tensor.ndim > 1:
                tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=generator)
    return model.eval()


def tiny_regnet() -> nn.Module:
    """torchvision's RegNetY of the stages of :data:`TINY`."""
    stages = BlockParams([1, 2, 1, 1], [16, 24, 32, 48], [8] * 4, [1.0] * 4, [2] * 4, se_ratio=0.25)
    return randomized(RegNet(stages, num_classes=10))


def resnet(depth: int) -> nn.Module:
    """torchvision's ResNet."""
    return randomized(getattr(torchvision.models, f"resnet{depth}")(num_classes=10))


@torch.no_grad()
def assert_same_features(
    model: nn.Module, reference: nn.Module, stages: Sequence[str], pooled: Callable[[Tensor], Tensor], size: int = 64
) -> None:
    """Equal features, which ``pooled`` gives of the reference, and feature maps, the outputs of its ``stages``."""
    expected: list[Tensor] = []
    hooks = [
        reference.get_submodule(stage).register_forward_hook(lambda _module, _inputs, output: expected.append(output))
        for stage in stages
    ]
    images = images_of(size)
    features = pooled(images)
    for hook in hooks:
        hook.remove()
    model.eval()
    assert_relatively_close(model(images), features)
    for actual, map_ in zip(model.feature_maps(images), expected, strict=True):  # type: ignore[operator]
        assert_relatively_close(actual, map_)


def assert_relatively_close(actual: Tensor, expected: Tensor) -> None:
    """Within 1e-4 of the greatest value, of which there must be more than one."""
    assert expected.std() > 0
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-4 * expected.abs().max().item())


def images_of(size: int, batch: int = 2) -> Tensor:
    """The same images in every test."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def without_classifier(reference: Any) -> Any:
    """The network, giving the features that its classifier was given."""
    reference.fc = nn.Identity()
    return reference


def saved(state: object, folder: Path) -> Path:
    """A file that PyTorch has written."""
    path = folder / "weights.pth"
    torch.save(state, path)
    return path


def card_of(architecture: dict[str, Any], backbone: nn.Module, *, size: int | None = None) -> dict[str, Any]:
    """A card that knows the size of the images alone."""
    shown = UNKNOWN_INPUT.replace(size=size)
    return weights_card(architecture, backbone, input_contract=shown, recipe={}, step=None, license="yours")


def written(path: Path, architecture: dict[str, Any], **changes: Any) -> nn.Module:
    """A network whose weights and card are at a path."""
    torch.manual_seed(5)
    backbone: nn.Module = BACKBONES.build(dict(architecture)).eval()
    write_weights(backbone.state_dict(), path, {**card_of(architecture, backbone), **changes})
    return backbone


class Holder(nn.Module):
    """A method, as far as loading looks at one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = self.representation = backbone


def rejected(state: Any, backbone: nn.Module, folder: Path, source: str = "torchvision", **how: str) -> Problem:
    """What is said of a state dict, or of the arrays of an npz file, after checking that nothing was changed."""
    if arrays := bool(state) and all(isinstance(value, np.ndarray) for value in state.values()):
        np.savez(folder / "weights.npz", **state)
    else:
        torch.save(state, folder / "weights.pth")
    path = folder / f"weights.{'npz' if arrays else 'pth'}"
    return rejection(lambda: load_backbone(path, backbone, source, **how), path, backbone)


def rejection(load: Callable[[], object], path: Path, module: nn.Module) -> Problem:
    """The problem of a file, after checking that loading it has changed nothing."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load()
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    (problem,) = caught.value.problems
    assert problem.path == str(path)
    return problem
