"""Weights that do not fit are refused, and the message says what would."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from selfsup.engine.checkpoint import load_backbone, load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from tests.convert import official
from tests.convert.networks import TINY, resnet, tiny_regnet
from tests.methods.tiny import TinyBackbone


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return resnet(50)


@pytest.fixture
def backbone() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 50})


def refused(state: object, backbone: nn.Module, tmp_path: Path, source: str = "torchvision", prefix: str = "") -> str:
    """The message, after checking that nothing was changed."""
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_backbone(path, backbone, source, prefix=prefix)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_another_architecture_is_named(backbone: nn.Module, tmp_path: Path) -> None:
    message = refused(torchvision.models.resnet18().state_dict(), backbone, tmp_path)
    assert message.startswith("the weights belong to another model than ResNet; 165 missing: layer1.0.conv3.weight, ")
    assert message.endswith(
        "; the file holds a ResNet with 2-2-2-2 blocks of width 64-128-256-512 after a 7x7 stem of 64, the model is a "
        "ResNet with 3-4-6-3 blocks of width 256-512-1024-2048 after a 7x7 stem of 64"
    )


def test_a_prefix_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {**official.prefixed("net.encoder.", reference.state_dict()), "net.extra": torch.zeros(3)}
    assert refused(state, backbone, tmp_path) == (
        "it is no file that source='torchvision' writes, its names are net.encoder.bn1.bias, "
        "net.encoder.bn1.num_batches_tracked, net.encoder.bn1.running_mean, ...; every tensor is there with "
        "prefix='net.encoder.'"
    )
    account = load_backbone(tmp_path / "weights.pth", backbone, "torchvision", prefix="net.encoder.")
    assert account.aside == {
        "classifier": ("fc.weight", "fc.bias"),
        "without the prefix 'net.encoder.'": ("net.extra",),
    }
    assert torch.equal(backbone.conv1.weight, reference.conv1.weight)
    assert refused(state, backbone, tmp_path, prefix="encoder.").startswith("no tensor's name begins with 'encoder.'")


def test_a_prefix_and_a_source_that_would_fit_are_named(tmp_path: Path) -> None:
    state = official.prefixed("model.", tiny_regnet().state_dict())
    message = refused(state, BACKBONES.build({"type": "RegNet", **TINY}), tmp_path, source="selfsup")
    assert message.endswith("every tensor is there with source='torchvision' and prefix='model.'")


@pytest.mark.parametrize(
    ("layout", "written_by", "given"),
    [
        (official.moco_v2, "moco", "torchvision"),
        (official.moco_v2, "moco", "simsiam"),
        (official.simsiam, "simsiam", "moco"),
        (official.swav, "swav", "vissl"),
        (official.byol_sthalles, "byol", "selfsup"),
    ],
)
def test_the_source_it_looks_like_is_named(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path, layout: object, written_by: str, given: str
) -> None:
    message = refused(layout(reference), backbone, tmp_path, source=given)  # type: ignore[operator]
    assert message.endswith(f"; it looks like source={written_by!r}")


def test_vissl_is_recognised(tmp_path: Path) -> None:
    backbone = BACKBONES.build({"type": "RegNet", **TINY})
    message = refused(official.vissl(official.vissl_names(tiny_regnet()), 48), backbone, tmp_path, source="timm")
    assert message.endswith("it looks like source='vissl'")


def test_half_the_tensors_are_missing(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t for name, t in reference.state_dict().items() if not name.startswith(("layer3", "layer4"))}
    message = refused(state, backbone, tmp_path)
    assert message.startswith(
        "the weights belong to another model than ResNet; 145 missing: layer3.0.conv1.weight, layer3.0.bn1.weight, "
        "layer3.0.bn1.bias, ..."
    )


def test_a_tensor_that_nothing_explains_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    message = refused({**reference.state_dict(), "attention.weight": torch.zeros(2)}, backbone, tmp_path)
    assert message == "the weights belong to another model than ResNet; 1 left over: attention.weight"


def test_kernels_of_tensorflow_are_recognised(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t.permute(2, 3, 1, 0) if t.ndim == 4 else t for name, t in reference.state_dict().items()}
    message = refused(state, backbone, tmp_path)
    assert "53 of another shape: conv1.weight: (7, 7, 3, 64) where (64, 3, 7, 7) is needed" in message
    assert message.endswith(
        "; kernels are (height, width, in, out), as TensorFlow and JAX store them, here; permute(3, 2, 0, 1) gives "
        "PyTorch's order"
    )


def test_transposed_matrices_are_recognised(tmp_path: Path) -> None:
    message = refused({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, nn.Linear(3, 2), tmp_path, "selfsup")
    assert message.endswith("; kernels are (in, out) here; permute(1, 0) gives PyTorch's order")


def test_an_unknown_source_is_answered_with_the_nearest(backbone: nn.Module, tmp_path: Path) -> None:
    assert refused({}, backbone, tmp_path, "visl") == "no source is called 'visl'; did you mean 'vissl'?"


def test_a_file_without_tensors_is_refused(backbone: nn.Module, tmp_path: Path) -> None:
    message = refused({"epoch": 3, "arch": "resnet50"}, backbone, tmp_path)
    assert message == "holds no tensors; its keys are arch, epoch"


def test_a_file_for_a_whole_method_must_fit_too(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(official.prefixed("encoder.", TinyBackbone().state_dict()), path)

    class Holder(nn.Module):
        backbone = TinyBackbone()

    with pytest.raises(CheckpointError, match=r"every tensor is there with prefix='encoder\.'"):
        load_method(path, Holder())  # type: ignore[arg-type]
