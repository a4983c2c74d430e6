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
from selfsup.registry import BACKBONES
from selfsup.weights.convert import convert_file
from selfsup.weights.export import _same_function, counterpart, export
from selfsup.weights.load import load_backbone
from selfsup.weights.translate import find_weights
from tests.weights import official
from tests.weights.networks import (
    Holder,
    assert_relatively_close,
    card_of,
    images_of,
    randomized,
    rejected,
    rejection,
    saved,
)


def bit(**arguments: Any) -> nn.Module:
    return BACKBONES.build({"type": "BiTResNet", **arguments})


def features_of(reference: Any, images: Tensor) -> Tensor:
    return reference.forward_head(reference.forward_features(images), pre_logits=True).flatten(1)


@torch.no_grad()
def assert_same_as_timm(model: nn.Module, reference: Any) -> None:
    images = images_of(64)
    expected: list[Tensor] = reference.forward_intermediates(images, norm=True, intermediates_only=True)[1:]
    assert_relatively_close(model.eval()(images), features_of(reference, images))
    for actual, map_ in zip(model.feature_maps(images), expected, strict=True):  # type: ignore[operator]
        assert_relatively_close(actual, map_)


def test_a_released_file_gives_the_features_that_timm_gets_from_it(timm: ModuleType, tmp_path: Path) -> None:
    written = randomized(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    arrays = official.bit_npz(written)
    np.savez(tmp_path / "BiT-M-R50x1.npz", **arrays)
    reference = timm.create_model("resnetv2_50x1_bit", num_classes=5)
    reference.load_pretrained(str(tmp_path / "BiT-M-R50x1.npz"))
    model = bit(depth=50)
    report = load_backbone(tmp_path / "BiT-M-R50x1.npz", model, "bit")
    assert report.ignored == {"classifier": ("resnet/head/conv2d/kernel", "resnet/head/conv2d/bias")}
    assert len(report.loaded) == len(model.state_dict())
    assert_same_as_timm(model, reference.eval())
    assert rejected(arrays, model, tmp_path, "timm").expected == "every tensor is there with source='bit'"


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
    model = bit(depth=101)
    report = load_backbone(saved(reference.state_dict(), tmp_path), model, "timm")
    assert report.changed == ("eps 1e-10 -> 1e-08, which the weights' network has; build it with eps=1e-08",)
    assert (0, "changed in the network", report.changed[0]) in report.rows()
    assert report.ignored == {"classifier": ("head.fc.weight", "head.fc.bias")}
    assert_same_as_timm(model, reference)
    images = images_of(64)
    with torch.no_grad():
        expected = features_of(reference, images)
        model.set_eps(1e-10)  # type: ignore[operator]
        ours = model(images)
        with pytest.raises(AssertionError):
            assert_relatively_close(ours, expected)  # so eps does matter here
    weights, again, code = counterpart(model, "timm")
    again.load_state_dict(weights, strict=True)
    assert "timm.create_model('resnetv2_101x1_bit', num_classes=0)" in code
    assert_same_as_timm(model, again.eval())


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), [(101, 1), (152, 2)])
def test_a_deep_network_is_exported_to_timm(timm: ModuleType, tmp_path: Path, depth: int, width: int) -> None:
    torch.manual_seed(0)
    model = bit(depth=depth, width=width)
    card = card_of({"type": "BiTResNet", "depth": depth, "width": width}, model, size=64)
    written = export(model, card, tmp_path / "x.pth", format="timm")
    assert written.difference < 2e-4 and "setattr(part, 'eps', 1e-10)" in written.usage
    assert json.loads((tmp_path / "x.json").read_text())["backbone"]["eps"] == 1e-10


def test_another_eps_is_not_taken_for_rounding(timm: ModuleType) -> None:
    torch.manual_seed(0)
    model = bit(depth=50)
    weights, again, _ = counterpart(model, "timm")
    again.eval().load_state_dict(weights)
    images = images_of(64)
    assert _same_function(model, again, images)
    model.set_eps(1e-8)  # type: ignore[operator]
    assert not _same_function(model.eval(), again, images)


def test_the_card_of_converted_weights_has_the_eps_they_need(timm: ModuleType, tmp_path: Path) -> None:
    path = saved(timm.create_model("resnetv2_50x1_bit", num_classes=5).state_dict(), tmp_path)
    architecture = {"type": "BiTResNet", "depth": 50}
    holder: Any = Holder(bit(depth=50))
    for out in (tmp_path / "o.pth", tmp_path / "o.safetensors"):
        report = convert_file(path, out, architecture=architecture, source="timm")
        assert report.changed
        assert json.loads((tmp_path / "o.json").read_text())["backbone"] == {**architecture, "eps": 1e-8}
        (tmp_path / "o.json").unlink()  # as files are copied
        model = bit(depth=50)
        load_backbone(out, model)
        assert model.eps == model.conv1.eps == 1e-8  # type: ignore[union-attr]
        problem = rejection(lambda out=out: load_method(out, holder), out, holder)  # type: ignore[misc]
        assert "eps=1e-08" in problem.message and problem.got == "eps=1e-10"


def test_every_tensor_of_the_largest_has_a_place_both_ways(timm: ModuleType) -> None:
    with torch.device("meta"):
        reference = timm.create_model("resnetv2_152x4_bit", num_classes=5)
        model = bit(depth=152, width=4)
        weights, report = find_weights(reference.state_dict(), model, source="timm", file="152x4", adapting=True)
        theirs, again, _ = counterpart(model, "timm")
    assert list(weights) == list(model.state_dict()) and report.complete
    assert len(weights) + 2 == len(reference.state_dict())
    assert {name: t.shape for name, t in theirs.items()} == {name: t.shape for name, t in again.state_dict().items()}


def test_a_file_of_another_size_is_explained(timm: ModuleType, tmp_path: Path) -> None:
    with torch.device("meta"):
        larger = timm.create_model("resnetv2_101x1_bit", num_classes=5)
    problem = rejected(official.bit_npz(larger.to_empty(device="cpu")), bit(depth=50), tmp_path, "bit")
    assert "153 unexpected: resnet/block3/unit" in problem.message
    assert problem.expected.startswith("the file holds a BiTResNet with 3-4-23-3 blocks of width 256-512-1024-2048")
