"""BiT's ``.npz`` files and timm's BiT networks."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.card import weights_card
from selfsup.weights.convert import convert_file
from selfsup.weights.export import _same_function, counterpart, export
from selfsup.weights.load import load_backbone
from selfsup.weights.translate import find_weights
from tests.weights import official
from tests.weights.networks import assert_relatively_close, randomized


def bit(**arguments: Any) -> nn.Module:
    return BACKBONES.build({"type": "BiTResNet", **arguments})


@torch.no_grad()
def assert_same_as_timm(model: nn.Module, reference: Any) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected: list[Tensor] = reference.forward_intermediates(images, norm=True, intermediates_only=True)[1:]
    features = reference.forward_head(reference.forward_features(images), pre_logits=True).flatten(1)
    assert_relatively_close(model.eval()(images), features)
    for actual, map_ in zip(model.feature_maps(images), expected, strict=True):  # type: ignore[operator]
        assert_relatively_close(actual, map_)


def test_a_released_file_gives_the_features_that_timm_gets_from_it(timm: ModuleType, tmp_path: Path) -> None:
    written = randomized(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    np.savez(tmp_path / "BiT-M-R50x1.npz", **official.bit_npz(written))
    reference = timm.create_model("resnetv2_50x1_bit", num_classes=5)
    reference.load_pretrained(str(tmp_path / "BiT-M-R50x1.npz"))
    model = bit(depth=50)
    report = load_backbone(tmp_path / "BiT-M-R50x1.npz", model, "bit")
    assert report.ignored == {"classifier": ("resnet/head/conv2d/kernel", "resnet/head/conv2d/bias")}
    assert len(report.loaded) == len(model.state_dict())
    assert_same_as_timm(model, reference.eval())


def test_timm_s_bit_and_back(timm: ModuleType, tmp_path: Path) -> None:
    reference = randomized(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    model = bit(depth=50)
    report = load_backbone(tmp_path / "x.pth", model, "timm")
    assert report.ignored == {"classifier": ("head.fc.weight", "head.fc.bias")}
    assert_same_as_timm(model, reference)
    weights, again, code = counterpart(model, "timm")
    again.load_state_dict(weights, strict=True)
    assert code == "model = timm.create_model('resnetv2_50x1_bit', num_classes=0)"
    assert_same_as_timm(model, again.eval())


def small_kernels(reference: Any) -> Any:
    """The network with kernels of variances from 1e-6 to 1e-4, to some of which 1e-8 is a lot."""
    generator = torch.Generator().manual_seed(2)
    for parameter in reference.parameters():
        if parameter.ndim == 4:
            deviation = 10 ** torch.empty(len(parameter), 1, 1, 1).uniform_(-3, -2, generator=generator)
            with torch.no_grad():
                parameter.div_(parameter.std((1, 2, 3), keepdim=True)).mul_(deviation)
    return reference


def test_a_deep_network_with_small_kernels_is_the_same_both_ways(timm: ModuleType, tmp_path: Path) -> None:
    reference = small_kernels(randomized(timm.create_model("resnetv2_101x1_bit", num_classes=5)))
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    model = bit(depth=101)
    report = load_backbone(tmp_path / "x.pth", model, "timm")
    assert report.changed == ("eps 1e-10 -> 1e-08, which the weights' network has; build it with eps=1e-08",)
    assert (0, "changed in the network", report.changed[0]) in report.rows()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference.forward_head(reference.forward_features(images), pre_logits=True).flatten(1)
        assert_relatively_close(model.eval()(images), expected)
        model.set_eps(1e-10)  # type: ignore[operator]
        ours = model(images)
        with pytest.raises(AssertionError):
            assert_relatively_close(ours, expected)  # so eps does matter here
        weights, again, _ = counterpart(model, "timm")
        again.load_state_dict(weights, strict=True)
        assert_relatively_close(again.eval()(images), ours)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), [(101, 1), (152, 2)])
def test_a_deep_network_is_exported_to_timm(timm: ModuleType, tmp_path: Path, depth: int, width: int) -> None:
    torch.manual_seed(0)
    model = bit(depth=depth, width=width)
    arguments = {"mean": None, "std": None, "size": 64, "recipe": {}, "step": None, "license": ""}
    card = weights_card({"type": "BiTResNet", "depth": depth, "width": width}, model, **arguments)
    written = export(model, card, tmp_path / "x.pth", format="timm")
    assert written.difference < 2e-4 and "setattr(part, 'eps', 1e-10)" in written.usage
    assert json.loads((tmp_path / "x.json").read_text())["backbone"]["eps"] == 1e-10


def test_another_eps_is_not_taken_for_rounding(timm: ModuleType) -> None:
    torch.manual_seed(0)
    model = bit(depth=50)
    weights, _, code = counterpart(model, "timm")
    names: dict[str, Any] = {"timm": timm}
    exec(code, names)
    again = names["model"].eval()
    again.load_state_dict(weights)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert _same_function(model, again, images)
    model.set_eps(1e-8)  # type: ignore[operator]
    assert not _same_function(model.eval(), again, images)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("out", ["o.pth", "o.safetensors"])
def test_the_card_of_converted_weights_has_the_eps_they_need(
    timm: ModuleType, tmp_path: Path, out: str, alone: bool
) -> None:
    reference = randomized(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    architecture = {"type": "BiTResNet", "depth": 50}
    report = convert_file(tmp_path / "x.pth", tmp_path / out, architecture=architecture, source="timm")
    assert report.changed
    assert json.loads((tmp_path / "o.json").read_text())["backbone"] == {**architecture, "eps": 1e-8}
    if alone:  # as files are copied
        (tmp_path / "o.json").unlink()
    model = bit(depth=50)
    load_backbone(tmp_path / out, model)
    assert model.eps == model.conv1.eps == 1e-8  # type: ignore[union-attr]

    class Holder(nn.Module):
        backbone = bit(depth=50)

    with pytest.raises(CheckpointError, match=r"o\.\w+: by its card the weights' network has eps=1e-08, and this one "):
        load_method(tmp_path / out, Holder())  # type: ignore[arg-type]


def test_every_tensor_of_the_largest_has_a_place_both_ways(timm: ModuleType) -> None:
    with torch.device("meta"):
        reference = timm.create_model("resnetv2_152x4_bit", num_classes=5)
        model = bit(depth=152, width=4)
        weights, report = find_weights(reference.state_dict(), model, source="timm", file="152x4")
        theirs, again, _ = counterpart(model, "timm")
    assert list(weights) == list(model.state_dict()) and report.complete
    assert len(weights) + 2 == len(reference.state_dict())
    assert {name: t.shape for name, t in theirs.items()} == {name: t.shape for name, t in again.state_dict().items()}


def test_a_file_of_another_size_is_explained(timm: ModuleType, tmp_path: Path) -> None:
    with torch.device("meta"):
        larger = timm.create_model("resnetv2_101x1_bit", num_classes=5)
    arrays = official.bit_npz(larger.to_empty(device="cpu"))
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(
        CheckpointError,
        match=r"153 unexpected: resnet/block3/unit.*; the file holds a BiTResNet with 3-4-23-3 blocks",
    ):
        load_backbone(tmp_path / "x.npz", bit(depth=50), "bit")


def test_kernels_in_pytorch_s_order_are_recognized(timm: ModuleType, tmp_path: Path) -> None:
    arrays = official.bit_npz(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    turned = {name: array.transpose(3, 2, 0, 1) if array.ndim == 4 else array for name, array in arrays.items()}
    np.savez(tmp_path / "x.npz", **turned)
    with pytest.raises(
        CheckpointError,
        match=r"conv1\.weight: \(7, 7, 64, 3\), expected \(64, 3, 7, 7\), .*; kernels are \(out, in, height, "
        r"width\), PyTorch's order, here; permute\(2, 3, 1, 0\) gives the one that such files have$",
    ):
        load_backbone(tmp_path / "x.npz", bit(depth=50), "bit")


def test_the_wrong_source_is_corrected(timm: ModuleType, tmp_path: Path) -> None:
    written = timm.create_model("resnetv2_50x1_bit", num_classes=5)
    np.savez(tmp_path / "x.npz", **official.bit_npz(written))
    with pytest.raises(CheckpointError, match=r"; it looks like source='bit'"):
        load_backbone(tmp_path / "x.npz", bit(depth=50), "timm")
