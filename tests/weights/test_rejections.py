"""Weights that do not fit are rejected, and what would fit is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.convert import convert_file
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.sources import SOURCES
from tests.methods.tiny import TinyBackbone
from tests.weights import official
from tests.weights.networks import REGNET, RESNET, Holder, rejected, rejection, resnet, saved, tiny_regnet

SMALL: dict[str, Any] = {"type": "ResNet", "depth": 18, "width": 0.125}


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return resnet(18)


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    return BACKBONES.build(RESNET)


@pytest.fixture(scope="module")
def regnet() -> nn.Module:
    return BACKBONES.build(REGNET)


@pytest.fixture
def small() -> nn.Module:
    return BACKBONES.build(dict(SMALL))


def with_(*arguments: str) -> str:
    return f"every tensor is there with {' and '.join(arguments)}"


ANY = "source='timm' or 'torchvision' or 'byol'"


def test_another_architecture_is_named(backbone: nn.Module, tmp_path: Path) -> None:
    problem = rejected(torchvision.models.resnet50().state_dict(), backbone, tmp_path)
    assert "unexpected: layer1.0.conv3.weight, " in problem.message
    assert problem.expected == (
        "the file holds a ResNet with 3-4-6-3 blocks of width 256-512-1024-2048, the model is a ResNet with 2-2-2-2 "
        "blocks of width 64-128-256-512"
    )


def test_a_prefix_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {**official.prefixed("net.encoder.", reference.state_dict()), "net.extra": torch.zeros(3)}
    assert rejected(state, backbone, tmp_path).expected == with_("prefix='net.encoder.'")
    assert rejected(state, backbone, tmp_path, prefix="encoder.").message.startswith("no tensor's name begins with")
    loaded = BACKBONES.build(RESNET)
    report = load_backbone(tmp_path / "weights.pth", loaded, "torchvision", prefix="net.encoder.")
    assert report.ignored == {
        "classifier": ("fc.weight", "fc.bias"),
        "without the prefix 'net.encoder.'": ("net.extra",),
    }
    assert torch.equal(loaded.conv1.weight, reference.conv1.weight)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapper_s_prefix_is_named_before_sources_that_allow_for_it(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path, wrapper: str
) -> None:
    state = official.prefixed(wrapper, reference.state_dict())
    assert rejected(state, backbone, tmp_path).expected == with_(f"prefix={wrapper!r}")
    assert rejected(state, backbone, tmp_path, "selfsup").expected == with_(ANY, f"prefix={wrapper!r}")
    own = official.prefixed(wrapper, backbone.state_dict())
    assert rejected(own, backbone, tmp_path, "selfsup").expected == with_(f"prefix={wrapper!r}")
    if wrapper == "_orig_mod.":  # around a file that allows for another
        state = official.prefixed(wrapper, official.moco_v2(reference)["state_dict"])
        assert rejected(state, backbone, tmp_path, "moco").expected == with_("prefix='_orig_mod.'")


def test_a_prefix_that_is_one_too_many_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    own = {name: tensor + 1 for name, tensor in backbone.state_dict().items()}
    for prefix in ("wrong.", "layer1."):
        assert rejected(own, backbone, tmp_path, "selfsup", prefix=prefix).expected == with_("prefix=''")
    problem = rejected(reference.state_dict(), backbone, tmp_path, "selfsup", prefix="wrong.")
    assert problem.expected == with_(ANY, "prefix=''")


@pytest.mark.parametrize(
    ("layout", "written_by", "given"),
    [
        ("moco_v2", "moco", "torchvision"),
        ("moco_v2", "moco", "simsiam"),
        ("simsiam", "simsiam", "moco"),
        ("swav", "swav", "vissl"),
        ("byol_sthalles", "byol", "selfsup"),
    ],
)
def test_the_source_that_would_fit_is_named(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path, layout: str, written_by: str, given: str
) -> None:
    state = getattr(official, layout)(reference)
    assert rejected(state, backbone, tmp_path, given).expected == with_(f"source={written_by!r}")


def test_vissl_is_recognized_and_shows_another_file_s_names_as_they_are(
    reference: nn.Module, regnet: nn.Module, tmp_path: Path
) -> None:
    state = official.vissl(official.vissl_names(tiny_regnet()), 48)
    assert rejected(state, regnet, tmp_path, "timm").expected == with_("source='vissl'")
    state = official.prefixed("model.", tiny_regnet().state_dict())
    assert rejected(state, regnet, tmp_path, "selfsup").expected == with_("source='torchvision'", "prefix='model.'")
    for state in (reference.state_dict(), {"model_state_dict": reference.state_dict()}):
        message = rejected(state, regnet, tmp_path, "vissl").message
        assert "its names are bn1.bias, bn1.num_batches_tracked, bn1.running_mean, ..." in message


def test_missing_and_unexpected_tensors_are_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    whole = reference.state_dict()
    state = {name: tensor for name, tensor in whole.items() if not name.startswith(("layer3", "layer4"))}
    message = rejected(state, backbone, tmp_path).message
    assert "50 missing: layer3.0.conv1.weight, layer3.0.bn1.weight, layer3.0.bn1.bias, ..." in message
    state = {**whole, "extra.w": torch.zeros(3)}
    del state["layer1.0.conv1.weight"]  # by which the file is known
    message = rejected(state, backbone, tmp_path).message
    assert message.endswith("; 1 missing: layer1.0.conv1.weight; 1 unexpected: extra.w")
    state = {name: t.permute(2, 3, 1, 0) if t.ndim == 4 else t for name, t in whole.items()}  # as TensorFlow has them
    message = rejected(state, backbone, tmp_path).message
    assert "20 shape mismatch: conv1.weight: (7, 7, 3, 64), expected (64, 3, 7, 7)" in message


def test_tensors_without_numbers_are_rejected(small: nn.Module, tmp_path: Path) -> None:
    with torch.device("meta"):
        weights = BACKBONES.build(dict(SMALL)).state_dict()
    problem = rejected(weights, small, tmp_path, "selfsup")
    assert problem.message == "has the shapes of tensors and no numbers: conv1.weight, bn1.weight, bn1.bias, ..."


def test_an_unknown_source_is_answered_with_the_nearest(small: nn.Module, tmp_path: Path) -> None:
    assert rejected({}, small, tmp_path, "visl").expected == "did you mean 'vissl'?"


@pytest.mark.parametrize("prefix", ["module.", "encoder."])
def test_a_file_for_a_whole_method_is_converted_first(tmp_path: Path, prefix: str) -> None:
    path = saved(official.prefixed(prefix, TinyBackbone().state_dict()), tmp_path)
    with pytest.raises(CheckpointError, match=rf"with prefix='{prefix}'; `selfsup convert`"):
        load_method(path, Holder(TinyBackbone()))  # type: ignore[arg-type]


def vissl_model(model: object) -> dict[str, object]:
    return {"classy_state_dict": {"base_model": {"model": model}}}


SHAPELESS: dict[str, object] = {
    "no tensors": {"epoch": 3, "arch": "resnet50"},
    "keys that are numbers": {0: torch.zeros(1)},
    "no state dict": {"model_state_dict": None},
    "no model": vissl_model(None),
    "no trunk": vissl_model({"a": 1}),
    "heads that are numbers": vissl_model({"trunk": {"a": torch.zeros(1)}, "heads": [1]}),
    "nothing": {},
}


@pytest.mark.parametrize("what", SHAPELESS)
def test_a_file_of_any_other_shape_is_rejected_by_every_source(what: str, small: nn.Module, tmp_path: Path) -> None:
    for source in SOURCES:
        message = rejected(SHAPELESS[what], small, tmp_path, source).message
        assert what != "no tensors" or message.endswith("its keys are arch, epoch")


def test_keys_that_are_no_names_are_passed_over_and_other_precisions_taken(small: nn.Module, tmp_path: Path) -> None:
    kinds = {torch.float32: torch.bfloat16, torch.int64: torch.int32}
    state = {name: (tensor + 1).to(kinds[tensor.dtype]) for name, tensor in small.state_dict().items()}
    assert load_backbone(saved({**state, 5: torch.zeros(2), None: torch.zeros(1)}, tmp_path), small).complete
    assert torch.equal(small.conv1.weight, state["conv1.weight"].float())


UNLIKE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "int8": (lambda tensor: tensor.to(torch.int8), "int8"),
    "bool": (lambda tensor: tensor > 0, "bool"),
    "complex64": (lambda tensor: tensor.to(torch.complex64), "complex64"),
    "sparse": (lambda tensor: tensor.to_sparse(), "sparse_coo float32"),
    "quantized": (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "qint8"),
    "two in one": (lambda tensor: torch.empty(tensor.shape, dtype=torch.float4_e2m1fn_x2), "float4_e2m1fn_x2"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", UNLIKE)
def test_numbers_of_another_kind_are_rejected(kind: str, small: nn.Module, tmp_path: Path) -> None:
    change, spelled = UNLIKE[kind]
    name = "layer4.1.conv2.weight"
    state = {key: tensor + 1 for key, tensor in small.state_dict().items()}
    state[name] = change(state[name])
    said = f"1 dtype mismatch: {name}: {spelled}, expected float32"
    assert rejected(state, small, tmp_path, "selfsup").message.endswith(said)
    path = saved({"model": official.prefixed("backbone.", state)}, tmp_path)
    holder: Any = Holder(small)
    problem = rejection(lambda: load_method(path, holder), path, small)
    assert f"backbone.{name}: {spelled}, expected float32" in problem.message
    if kind in ("int8", "bool", "complex64"):
        path = tmp_path / "x.safetensors"
        save_file(state, path)
        assert rejection(lambda: load_backbone(path, small), path, small).message.endswith(said)


def test_a_count_may_not_become_a_fraction(small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.num_batches_tracked": torch.tensor(0.5)}
    message = rejected(state, small, tmp_path, "selfsup").message
    assert message.endswith("1 dtype mismatch: bn1.num_batches_tracked: float32, expected int64")


FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


@pytest.mark.parametrize("kind", FLOAT8, ids=str)
def test_numbers_of_eight_bits_are_taken_exactly(kind: torch.dtype, small: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor.to(kind) if tensor.ndim == 4 else tensor for name, tensor in small.state_dict().items()}
    for path, save in ((tmp_path / "x.pth", torch.save), (tmp_path / "y.safetensors", save_file)):
        save(state, path)
        out = path.with_name(f"{path.stem}_out.safetensors")
        assert convert_file(path, out, architecture=SMALL, source="selfsup").complete
        load_backbone(path, small)
        for name, tensor in load_file(out).items():
            assert tensor.dtype in (torch.float32, torch.int64)
            assert torch.equal(tensor, state[name].to(tensor.dtype)) and torch.equal(tensor, small.state_dict()[name])


@pytest.mark.parametrize("kind", [torch.float32, *FLOAT8], ids=str)
def test_numbers_that_are_not_finite_are_rejected(kind: torch.dtype, small: nn.Module, tmp_path: Path) -> None:
    for wrong in (np.nan, np.inf) if kind == torch.float32 else (np.nan,):
        state = {**small.state_dict(), "bn1.weight": torch.full_like(small.bn1.weight, wrong).to(kind)}
        assert rejected(state, small, tmp_path, "selfsup").message == "numbers are not finite in bn1.weight"
