"""Weights that do not fit are rejected, and the message says what would."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.convert import convert_file
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.sources import SOURCES
from tests.methods.tiny import TinyBackbone
from tests.weights import official
from tests.weights.networks import TINY, resnet, tiny_regnet


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return resnet(50)


@pytest.fixture
def backbone() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 50})


def rejected(state: object, backbone: nn.Module, tmp_path: Path, source: str = "torchvision", prefix: str = "") -> str:
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
    message = rejected(torchvision.models.resnet18().state_dict(), backbone, tmp_path)
    assert message.startswith("the weights belong to another model than ResNet; 165 missing: layer1.0.conv3.weight, ")
    assert message.endswith(
        "; the file holds a ResNet with 2-2-2-2 blocks of width 64-128-256-512 after a 7x7 stem of 64, the model is a "
        "ResNet with 3-4-6-3 blocks of width 256-512-1024-2048 after a 7x7 stem of 64"
    )


def test_a_prefix_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {**official.prefixed("net.encoder.", reference.state_dict()), "net.extra": torch.zeros(3)}
    assert rejected(state, backbone, tmp_path) == (
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
    assert rejected(state, backbone, tmp_path, prefix="encoder.").startswith("no tensor's name begins with 'encoder.'")


def test_a_prefix_and_a_source_that_would_fit_are_named(tmp_path: Path) -> None:
    state = official.prefixed("model.", tiny_regnet().state_dict())
    message = rejected(state, BACKBONES.build({"type": "RegNet", **TINY}), tmp_path, source="selfsup")
    assert message.endswith("every tensor is there with source='torchvision' and prefix='model.'")


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapper_s_prefix_is_named_before_sources_that_allow_for_it(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path, wrapper: str
) -> None:
    state = official.prefixed(wrapper, reference.state_dict())
    right = f"every tensor is there with prefix={wrapper!r}"
    assert rejected(state, backbone, tmp_path) == (
        f"it is no file that source='torchvision' writes, its names are {wrapper}bn1.bias, "
        f"{wrapper}bn1.num_batches_tracked, {wrapper}bn1.running_mean, ...; {right}"
    )
    assert load_backbone(tmp_path / "weights.pth", backbone, "torchvision", prefix=wrapper).balanced
    assert rejected(state, backbone, tmp_path, source="selfsup").endswith(
        f"; every tensor is there with source='timm' (or 'torchvision', 'byol') and prefix={wrapper!r}"
    )
    own = official.prefixed(wrapper, backbone.state_dict())
    assert rejected(own, backbone, tmp_path, source="selfsup").endswith(f"; {right}")


def test_a_wrapper_around_a_file_that_allows_for_another_is_named_with_its_source(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path
) -> None:
    state = official.prefixed("_orig_mod.", official.moco_v2(reference)["state_dict"])
    message = rejected(state, backbone, tmp_path, source="moco")
    assert message.endswith("; every tensor is there with prefix='_orig_mod.'")


def test_a_prefix_that_is_one_too_many_is_told(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in backbone.state_dict().items()}
    message = rejected(state, backbone, tmp_path, source="selfsup", prefix="wrong.")
    assert message.startswith("no tensor's name begins with 'wrong.', its names are bn1.bias, ")
    assert message.endswith(", ...; every tensor is there if the prefix is left out")
    message = rejected(state, backbone, tmp_path, source="selfsup", prefix="layer1.")
    assert message.endswith("; every tensor is there if the prefix is left out")
    message = rejected(reference.state_dict(), backbone, tmp_path, source="selfsup", prefix="wrong.")
    assert message.endswith("; it looks like source='timm' or source='torchvision' or source='byol', without a prefix")


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
    message = rejected(layout(reference), backbone, tmp_path, source=given)  # type: ignore[operator]
    assert message.endswith(f"; it looks like source={written_by!r}")


def test_vissl_is_recognized(tmp_path: Path) -> None:
    backbone = BACKBONES.build({"type": "RegNet", **TINY})
    message = rejected(official.vissl(official.vissl_names(tiny_regnet()), 48), backbone, tmp_path, source="timm")
    assert message.endswith("it looks like source='vissl'")


def test_vissl_tells_another_file_s_names_as_they_are(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path
) -> None:
    names = "its names are bn1.bias, bn1.num_batches_tracked, bn1.running_mean, ...; it looks like source="
    for state in (reference.state_dict(), {"model_state_dict": reference.state_dict()}):
        message = rejected(state, backbone, tmp_path, source="vissl")
        assert message.startswith(f"it is no file that source='vissl' writes, {names}")
        message = rejected(state, backbone, tmp_path, source="vissl", prefix="trunk.")
        assert message.startswith(f"no tensor's name begins with 'trunk.', {names}")


def test_half_the_tensors_are_missing(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t for name, t in reference.state_dict().items() if not name.startswith(("layer3", "layer4"))}
    message = rejected(state, backbone, tmp_path)
    assert message.startswith(
        "the weights belong to another model than ResNet; 145 missing: layer3.0.conv1.weight, layer3.0.bn1.weight, "
        "layer3.0.bn1.bias, ..."
    )


def test_a_tensor_that_nothing_explains_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    message = rejected({**reference.state_dict(), "attention.weight": torch.zeros(2)}, backbone, tmp_path)
    assert message == "the weights belong to another model than ResNet; 1 left over: attention.weight"


def test_kernels_of_tensorflow_are_recognized(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t.permute(2, 3, 1, 0) if t.ndim == 4 else t for name, t in reference.state_dict().items()}
    message = rejected(state, backbone, tmp_path)
    assert "53 of another shape: conv1.weight: (7, 7, 3, 64) where (64, 3, 7, 7) is needed" in message
    assert message.endswith(
        "; kernels are (height, width, in, out), as TensorFlow and JAX store them, here; permute(3, 2, 0, 1) gives "
        "PyTorch's order"
    )


def test_transposed_matrices_are_recognized(tmp_path: Path) -> None:
    message = rejected({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, nn.Linear(3, 2), tmp_path, "selfsup")
    assert message.endswith("; kernels are (in, out) here; permute(1, 0) gives PyTorch's order")


def test_an_unknown_source_is_answered_with_the_nearest(backbone: nn.Module, tmp_path: Path) -> None:
    assert rejected({}, backbone, tmp_path, "visl") == "no source is called 'visl'; did you mean 'vissl'?"


def test_a_source_that_is_no_name_is_answered_too(backbone: nn.Module, tmp_path: Path) -> None:
    assert rejected({}, backbone, tmp_path, None) == (  # type: ignore[arg-type]
        "no source is called None; choose from bit, byol, moco, selfsup, simsiam, swav, timm, torchvision, vissl"
    )
    message = rejected({}, backbone, tmp_path, ["timm"])  # type: ignore[arg-type]
    assert message == "no source is called ['timm']; did you mean 'timm'?"


def test_a_prefix_that_is_no_string_is_rejected(backbone: nn.Module, tmp_path: Path) -> None:
    message = rejected(backbone.state_dict(), backbone, tmp_path, "selfsup", None)  # type: ignore[arg-type]
    assert message == "a prefix must be a string, '' for none, got None"


def test_tensors_without_numbers_are_rejected(backbone: nn.Module, tmp_path: Path) -> None:
    with torch.device("meta"):
        empty = BACKBONES.build({"type": "ResNet", "depth": 18})
    weights = empty.state_dict()
    for state in (weights, {"model": weights}, {"optimizer": [{"state": weights}]}):
        assert rejected(state, backbone, tmp_path, "selfsup") == (
            f"{len(weights)} tensors have a shape and no numbers, as on PyTorch's meta device: conv1.weight, "
            "bn1.weight, bn1.bias, ...; save the network once it has its weights"
        )


def test_a_file_for_a_whole_method_that_has_a_prefix_is_told_the_way(tmp_path: Path) -> None:
    torch.save(official.prefixed("module.", TinyBackbone().state_dict()), tmp_path / "x.pth")

    class Holder(nn.Module):
        backbone = TinyBackbone()

    with pytest.raises(
        CheckpointError, match=r"; every tensor is there with prefix='module\.'; `selfsup convert` makes a file of it"
    ):
        load_method(tmp_path / "x.pth", Holder())  # type: ignore[arg-type]


def test_a_file_without_tensors_is_rejected(backbone: nn.Module, tmp_path: Path) -> None:
    message = rejected({"epoch": 3, "arch": "resnet50"}, backbone, tmp_path)
    assert message == "holds no tensors by name; its keys are arch, epoch"


def test_a_file_for_a_whole_method_must_fit_too(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(official.prefixed("encoder.", TinyBackbone().state_dict()), path)

    class Holder(nn.Module):
        backbone = TinyBackbone()

    with pytest.raises(CheckpointError, match=r"every tensor is there with prefix='encoder\.'"):
        load_method(path, Holder())  # type: ignore[arg-type]


@pytest.fixture
def small() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 18, "width": 0.125})


def vissl_model(model: object) -> dict[str, object]:
    return {"classy_state_dict": {"base_model": {"model": model}}}


SHAPELESS: dict[str, object] = {
    "keys that are numbers": {0: torch.zeros(1)},
    "no state dict": {"model_state_dict": None},
    "a number": {"model_state_dict": 3},
    "no model": vissl_model(None),
    "no dict": {"classy_state_dict": 3},
    "no trunk": vissl_model({"a": 1}),
    "an empty trunk": vissl_model({"trunk": None}),
    "heads that are numbers": vissl_model({"trunk": {"a": torch.zeros(1)}, "heads": [1]}),
    "heads that are a word": vissl_model({"trunk": {5: torch.zeros(1)}, "heads": "x"}),
    "a type that is a tensor": {"type": torch.zeros(2)},
    "nothing": {},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("what", SHAPELESS)
def test_a_file_of_any_other_shape_is_rejected_by_every_source(
    what: str, source: str, small: nn.Module, tmp_path: Path
) -> None:
    message = rejected(SHAPELESS[what], small, tmp_path, source=source)
    assert message.startswith(("holds no tensors by name", "it is no file that", "the weights belong to another"))


def test_keys_that_are_no_names_are_passed_over(small: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in small.state_dict().items()}
    torch.save({**state, 5: torch.zeros(2), None: torch.zeros(1)}, tmp_path / "x.pth")
    load_backbone(tmp_path / "x.pth", small)
    assert torch.equal(small.conv1.weight, state["conv1.weight"])


UNLIKE = {
    "int8": (lambda tensor: tensor.to(torch.int8), "int8"),
    "bool": (lambda tensor: tensor > 0, "bool"),
    "complex64": (lambda tensor: tensor.to(torch.complex64), "complex64"),
    "sparse": (lambda tensor: tensor.to_sparse(), "sparse_coo float32"),
    "quantized": (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "qint8"),
    "two in one": (lambda tensor: torch.empty(tensor.shape, dtype=torch.float4_e2m1fn_x2), "float4_e2m1fn_x2"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("name", ["conv1.weight", "layer4.1.conv2.weight"])
def test_numbers_of_another_kind_are_rejected(kind: str, name: str, small: nn.Module, tmp_path: Path) -> None:
    change, spelled = UNLIKE[kind]
    state = {key: tensor + 1 for key, tensor in small.state_dict().items()}
    message = rejected({**state, name: change(state[name])}, small, tmp_path, source="selfsup")
    assert message == (
        f"the weights belong to another model than ResNet; 1 of another kind: {name}: {spelled} where float32 is needed"
    )
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": {f"backbone.{key}": t for key, t in {**state, name: change(state[name])}.items()}}, path)

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = small

    before = {key: tensor.clone() for key, tensor in small.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"1 of another kind: backbone\.{name}: {spelled} where float32"):
        load_method(path, Holder())  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[key]) for key, tensor in small.state_dict().items())


def test_a_count_may_not_become_a_fraction(small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.num_batches_tracked": torch.tensor(0.5)}
    message = rejected(state, small, tmp_path, source="selfsup")
    assert message.endswith("1 of another kind: bn1.num_batches_tracked: float32 where int64 is needed")


def test_other_precisions_are_taken(small: nn.Module, tmp_path: Path) -> None:
    kinds = {torch.float32: torch.bfloat16, torch.int64: torch.int32}
    state = {name: tensor.to(kinds[tensor.dtype]) for name, tensor in small.state_dict().items()}
    torch.save(state, tmp_path / "x.pth")
    assert load_backbone(tmp_path / "x.pth", small).balanced
    assert torch.equal(small.conv1.weight, state["conv1.weight"].float())


FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


@pytest.mark.parametrize("kind", FLOAT8, ids=str)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_numbers_of_eight_bits_are_taken_exactly(
    suffix: str, kind: torch.dtype, small: nn.Module, tmp_path: Path
) -> None:
    state = {name: tensor.to(kind) if tensor.ndim == 4 else tensor for name, tensor in small.state_dict().items()}
    path, out = tmp_path / f"x{suffix}", tmp_path / "out.safetensors"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    architecture = {"type": "ResNet", "depth": 18, "width": 0.125}
    assert convert_file(path, out, architecture=architecture, source="selfsup").balanced
    load_backbone(path, small)
    for name, tensor in load_file(out).items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, state[name].to(tensor.dtype)) and torch.equal(tensor, small.state_dict()[name])


@pytest.mark.parametrize("kind", FLOAT8, ids=str)
def test_numbers_of_eight_bits_that_are_none_are_rejected(kind: torch.dtype, small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.weight": torch.full_like(small.bn1.weight, float("nan")).to(kind)}
    assert rejected(state, small, tmp_path, source="selfsup").startswith("numbers that are not finite in bn1.weight; ")


@pytest.mark.parametrize("kind", ["int8", "bool", "complex64"])
def test_safetensors_of_another_kind_are_rejected_too(kind: str, small: nn.Module, tmp_path: Path) -> None:
    change, spelled = UNLIKE[kind]
    save_file({**small.state_dict(), "conv1.weight": change(small.conv1.weight.detach())}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=f"1 of another kind: conv1.weight: {spelled} where float32 is needed$"):
        load_backbone(tmp_path / "x.safetensors", small)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_rejected(wrong: float, small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.weight": torch.full_like(small.bn1.weight, wrong)}
    assert rejected(state, small, tmp_path, source="selfsup") == (
        "numbers that are not finite in bn1.weight; the training that wrote them had failed, use an older file"
    )


def test_one_tensor_that_is_missing_is_told_even_if_the_file_is_known_by_it(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path
) -> None:
    state = {**reference.state_dict(), "extra.w": torch.zeros(3)}
    del state["layer1.0.conv1.weight"]
    assert rejected(state, backbone, tmp_path) == (
        "the weights belong to another model than ResNet; 1 missing: layer1.0.conv1.weight; 1 left over: extra.w"
    )


def test_every_source_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    message = rejected(reference.state_dict(), backbone, tmp_path, source="selfsup")
    assert message.endswith(
        "2 left over: fc.weight, fc.bias; it looks like source='timm' or source='torchvision' or source='byol'"
    )
