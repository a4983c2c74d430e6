"""Weights that do not fit are rejected, and the message says what would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from tests.weights.networks import TINY, resnet, tiny_regnet


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return resnet(50)


@pytest.fixture
def backbone() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 50})


@pytest.fixture
def small() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 18, "width": 0.125})


class Holder(nn.Module):
    """A method, as far as loading looks at one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


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
    assert "165 missing: layer1.0.conv3.weight, " in message
    assert message.endswith(
        "; the file holds a ResNet with 2-2-2-2 blocks of width 64-128-256-512 after a 7x7 stem of 64, the model is a "
        "ResNet with 3-4-6-3 blocks of width 256-512-1024-2048 after a 7x7 stem of 64"
    )


def test_a_prefix_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {**official.prefixed("net.encoder.", reference.state_dict()), "net.extra": torch.zeros(3)}
    assert rejected(state, backbone, tmp_path).endswith("with prefix='net.encoder.'")
    report = load_backbone(tmp_path / "weights.pth", backbone, "torchvision", prefix="net.encoder.")
    assert report.ignored == {
        "classifier": ("fc.weight", "fc.bias"),
        "without the prefix 'net.encoder.'": ("net.extra",),
    }
    assert torch.equal(backbone.conv1.weight, reference.conv1.weight)
    assert rejected(state, backbone, tmp_path, prefix="encoder.").startswith("no tensor's name begins with 'encoder.'")


def test_a_prefix_and_a_source_that_would_fit_are_named(tmp_path: Path) -> None:
    state = official.prefixed("model.", tiny_regnet().state_dict())
    message = rejected(state, BACKBONES.build({"type": "RegNet", **TINY}), tmp_path, source="selfsup")
    assert message.endswith("with source='torchvision' and prefix='model.'")


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapper_s_prefix_is_named_before_sources_that_allow_for_it(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path, wrapper: str
) -> None:
    state = official.prefixed(wrapper, reference.state_dict())
    assert rejected(state, backbone, tmp_path).endswith(f"with prefix={wrapper!r}")
    assert load_backbone(tmp_path / "weights.pth", backbone, "torchvision", prefix=wrapper).complete
    assert rejected(state, backbone, tmp_path, source="selfsup").endswith(
        f"with source='timm' (or 'torchvision', 'byol') and prefix={wrapper!r}"
    )
    own = official.prefixed(wrapper, backbone.state_dict())
    assert rejected(own, backbone, tmp_path, source="selfsup").endswith(f"with prefix={wrapper!r}")


def test_a_wrapper_around_a_file_that_allows_for_another_is_named(
    reference: nn.Module, backbone: nn.Module, tmp_path: Path
) -> None:
    state = official.prefixed("_orig_mod.", official.moco_v2(reference)["state_dict"])
    assert rejected(state, backbone, tmp_path, source="moco").endswith("with prefix='_orig_mod.'")


def test_a_prefix_that_is_one_too_many_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    own = {name: tensor + 1 for name, tensor in backbone.state_dict().items()}
    for prefix in ("wrong.", "layer1."):
        message = rejected(own, backbone, tmp_path, source="selfsup", prefix=prefix)
        assert message.endswith("if the prefix is left out")
    message = rejected(reference.state_dict(), backbone, tmp_path, source="selfsup", prefix="wrong.")
    assert message.endswith("source='timm' or source='torchvision' or source='byol', without a prefix")


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
    reference: nn.Module,
    backbone: nn.Module,
    tmp_path: Path,
    layout: Callable[[nn.Module], object],
    written_by: str,
    given: str,
) -> None:
    assert rejected(layout(reference), backbone, tmp_path, source=given).endswith(f" source={written_by!r}")


def test_vissl_is_recognized_and_shows_another_file_s_names_as_they_are(reference: nn.Module, tmp_path: Path) -> None:
    backbone = BACKBONES.build({"type": "RegNet", **TINY})
    message = rejected(official.vissl(official.vissl_names(tiny_regnet()), 48), backbone, tmp_path, source="timm")
    assert message.endswith("source='vissl'")
    for state in (reference.state_dict(), {"model_state_dict": reference.state_dict()}):
        message = rejected(state, backbone, tmp_path, source="vissl")
        assert "its names are bn1.bias, bn1.num_batches_tracked, bn1.running_mean, ..." in message


def test_missing_and_unexpected_tensors_are_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t for name, t in reference.state_dict().items() if not name.startswith(("layer3", "layer4"))}
    message = rejected(state, backbone, tmp_path)
    assert "145 missing: layer3.0.conv1.weight, layer3.0.bn1.weight, layer3.0.bn1.bias, ..." in message
    message = rejected({**reference.state_dict(), "attention.weight": torch.zeros(2)}, backbone, tmp_path)
    assert message.endswith("; 1 unexpected: attention.weight")
    state = {**reference.state_dict(), "extra.w": torch.zeros(3)}
    del state["layer1.0.conv1.weight"]  # by which the file is known
    message = rejected(state, backbone, tmp_path)
    assert message.endswith("; 1 missing: layer1.0.conv1.weight; 1 unexpected: extra.w")


def test_kernels_of_tensorflow_are_recognized(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    state = {name: t.permute(2, 3, 1, 0) if t.ndim == 4 else t for name, t in reference.state_dict().items()}
    message = rejected(state, backbone, tmp_path)
    assert "53 shape mismatch: conv1.weight: (7, 7, 3, 64), expected (64, 3, 7, 7)" in message
    assert message.endswith("permute(3, 2, 0, 1) gives PyTorch's order")


def test_transposed_matrices_are_recognized(tmp_path: Path) -> None:
    message = rejected({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, nn.Linear(3, 2), tmp_path, "selfsup")
    assert message.endswith("permute(1, 0) gives PyTorch's order")


def test_an_unknown_source_is_answered_with_the_nearest(small: nn.Module, tmp_path: Path) -> None:
    assert rejected({}, small, tmp_path, "visl").endswith("did you mean 'vissl'?")


def test_tensors_without_numbers_are_rejected(small: nn.Module, tmp_path: Path) -> None:
    with torch.device("meta"):
        weights = BACKBONES.build({"type": "ResNet", "depth": 18}).state_dict()
    for state in (weights, {"model": weights}, {"optimizer": [{"state": weights}]}):
        assert "conv1.weight has a shape and no numbers" in rejected(state, small, tmp_path, "selfsup")


@pytest.mark.parametrize("prefix", ["module.", "encoder."])
def test_a_file_for_a_whole_method_is_converted_first(tmp_path: Path, prefix: str) -> None:
    torch.save(official.prefixed(prefix, TinyBackbone().state_dict()), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"with prefix='{prefix}'; `selfsup convert`"):
        load_method(tmp_path / "x.pth", Holder(TinyBackbone()))  # type: ignore[arg-type]


def test_a_file_without_tensors_is_rejected(small: nn.Module, tmp_path: Path) -> None:
    assert rejected({"epoch": 3, "arch": "resnet50"}, small, tmp_path).endswith("its keys are arch, epoch")


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


@pytest.mark.parametrize("what", SHAPELESS)
def test_a_file_of_any_other_shape_is_rejected_by_every_source(what: str, small: nn.Module, tmp_path: Path) -> None:
    for source in SOURCES:
        rejected(SHAPELESS[what], small, tmp_path, source=source)


def test_keys_that_are_no_names_are_passed_over(small: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in small.state_dict().items()}
    torch.save({**state, 5: torch.zeros(2), None: torch.zeros(1)}, tmp_path / "x.pth")
    load_backbone(tmp_path / "x.pth", small)
    assert torch.equal(small.conv1.weight, state["conv1.weight"])


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
def test_numbers_of_another_kind_are_rejected_and_change_nothing(kind: str, small: nn.Module, tmp_path: Path) -> None:
    change, spelled = UNLIKE[kind]
    name = "layer4.1.conv2.weight"
    state = {key: tensor + 1 for key, tensor in small.state_dict().items()}
    state[name] = change(state[name])
    said = f"1 dtype mismatch: {name}: {spelled}, expected float32"
    assert rejected(state, small, tmp_path, source="selfsup").endswith(said)
    before = {key: tensor.clone() for key, tensor in small.state_dict().items()}
    torch.save({"model": official.prefixed("backbone.", state)}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match=rf"1 dtype mismatch: backbone\.{name}: {spelled}, expected float32"):
        load_method(tmp_path / "checkpoint.pth", Holder(small))  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[key]) for key, tensor in small.state_dict().items())
    if kind in ("int8", "bool", "complex64"):
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match=f"{said}$"):
            load_backbone(tmp_path / "x.safetensors", small)


def test_a_count_may_not_become_a_fraction(small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.num_batches_tracked": torch.tensor(0.5)}
    message = rejected(state, small, tmp_path, source="selfsup")
    assert message.endswith("1 dtype mismatch: bn1.num_batches_tracked: float32, expected int64")


def test_other_precisions_are_taken(small: nn.Module, tmp_path: Path) -> None:
    kinds = {torch.float32: torch.bfloat16, torch.int64: torch.int32}
    state = {name: tensor.to(kinds[tensor.dtype]) for name, tensor in small.state_dict().items()}
    torch.save(state, tmp_path / "x.pth")
    assert load_backbone(tmp_path / "x.pth", small).complete
    assert torch.equal(small.conv1.weight, state["conv1.weight"].float())


FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


@pytest.mark.parametrize("kind", FLOAT8, ids=str)
def test_numbers_of_eight_bits_are_taken_exactly(kind: torch.dtype, small: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor.to(kind) if tensor.ndim == 4 else tensor for name, tensor in small.state_dict().items()}
    architecture: dict[str, Any] = {"type": "ResNet", "depth": 18, "width": 0.125}
    for path, save in ((tmp_path / "x.pth", torch.save), (tmp_path / "y.safetensors", save_file)):
        save(state, path)
        out = path.with_name(f"{path.stem}_out.safetensors")
        assert convert_file(path, out, architecture=architecture, source="selfsup").complete
        load_backbone(path, small)
        for name, tensor in load_file(out).items():
            assert tensor.dtype in (torch.float32, torch.int64)
            assert torch.equal(tensor, state[name].to(tensor.dtype)) and torch.equal(tensor, small.state_dict()[name])
    broken = {**state, "bn1.weight": torch.full_like(small.bn1.weight, float("nan")).to(kind)}
    assert rejected(broken, small, tmp_path, source="selfsup").startswith("numbers that are not finite in bn1.weight; ")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_rejected(wrong: float, small: nn.Module, tmp_path: Path) -> None:
    state = {**small.state_dict(), "bn1.weight": torch.full_like(small.bn1.weight, wrong)}
    assert rejected(state, small, tmp_path, source="selfsup").startswith("numbers that are not finite in bn1.weight; ")


def test_every_source_that_would_fit_is_named(reference: nn.Module, backbone: nn.Module, tmp_path: Path) -> None:
    message = rejected(reference.state_dict(), backbone, tmp_path, source="selfsup")
    assert message.endswith(
        "2 unexpected: fc.weight, fc.bias; it looks like source='timm' or source='torchvision' or source='byol'"
    )
