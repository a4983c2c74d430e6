"""What is exported is run beside the original, in the program it is for, and carries a card."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from selfsup.config import Recipe
from selfsup.data.input_contract import InputContract
from selfsup.engine.save import run_card
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES, METHODS
from selfsup.weights import export as module
from selfsup.weights.card import weights_card
from selfsup.weights.export import FORMATS, export, relative_difference
from tests.engine.tiny_run import tiny_config
from tests.weights.networks import REGNET as ARCHITECTURE
from tests.weights.networks import assert_relatively_close, images_of, randomized


@pytest.fixture
def backbone() -> nn.Module:
    return randomized(BACKBONES.build(ARCHITECTURE))


@pytest.fixture
def card(backbone: nn.Module) -> dict[str, Any]:
    shown = InputContract(64, "none", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return weights_card(ARCHITECTURE, backbone, input_contract=shown, recipe={}, step=3, license="yours")


IMAGES = images_of(64, 3)


def test_safetensors_hold_the_card_and_build_the_same_network(
    backbone: nn.Module, card: dict[str, Any], tmp_path: Path
) -> None:
    written = export(backbone, card, tmp_path / "b.safetensors", format="safetensors")
    assert written.difference == 0
    with safetensors.safe_open(written.path, "pt") as file:
        inside = json.loads(file.metadata()["selfsup"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    beside = json.loads((tmp_path / "b.json").read_text())
    assert beside == inside == {**json.loads(json.dumps(card)), "format": "safetensors"}
    again = BACKBONES.build(inside["backbone"]).eval()
    again.load_state_dict(weights)
    with torch.no_grad():
        assert torch.equal(again(IMAGES), backbone(IMAGES))


@pytest.mark.parametrize(
    ("architecture", "format", "name"),
    [
        (ARCHITECTURE, "torchvision", "b.pth"),
        ({**ARCHITECTURE, "se_ratio": 0.5}, "torchvision", "b.safetensors"),  # another squeeze
        ({"type": "RegNet", "arch": "y_400mf"}, "timm", "b.safetensors"),
    ],
)
def test_another_library_s_layout_loads_by_the_code_that_is_printed(
    timm: ModuleType, architecture: dict[str, Any], format: str, name: str, card: dict[str, Any], tmp_path: Path
) -> None:
    backbone = randomized(BACKBONES.build(architecture))
    written = export(backbone, card, tmp_path / name, format=format)
    assert written.difference < 1e-5
    names: dict[str, Any] = {"torch": torch, "safetensors": safetensors}
    exec(written.usage, names)
    with torch.no_grad():
        assert_relatively_close(names["model"].eval()(IMAGES), backbone(IMAGES))


FAMILIES: list[dict[str, Any]] = [
    ARCHITECTURE,
    {"type": "ResNet", "depth": 18, "width": 0.25},
    {"type": "BiTResNet", "depth": 14, "width": 0.25, "num_groups": 8},
    {"type": "ViT", "embed_dim": 48, "depth": 2, "num_heads": 4, "image_size": 64},
    {"type": "Timm", "name": "resnet10t"},
]


def program(path: Path) -> Any:
    """What runs a traced file."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])


@torch.no_grad()
@pytest.mark.parametrize("format", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize("arguments", FAMILIES, ids=lambda arguments: arguments["type"])
def test_a_traced_file_runs_any_batch(
    arguments: dict[str, Any], format: str, card: dict[str, Any], tmp_path: Path
) -> None:
    backbone = randomized(BACKBONES.build(arguments))
    written = export(backbone, card, tmp_path / f"b{module.SUFFIXES[format][0]}", format=format)
    assert written.difference < 1e-4
    again = program(written.path)
    for batch in (1, 2, 3):
        assert_relatively_close(again(IMAGES[:batch]), backbone(IMAGES[:batch]))


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_features_that_differ_leave_the_earlier_file(
    backbone: nn.Module, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    write = FORMATS["safetensors"]

    def write_wrongly(*arguments: Any) -> Any:
        run, usage = write(*arguments)
        return lambda images: run(images) * wrong, usage

    monkeypatch.setitem(FORMATS, "safetensors", write_wrongly)
    (tmp_path / "b.safetensors").write_text("earlier")
    with pytest.raises(CheckpointError, match=r"features differ from the original's by .* at most 1e-04 is rounding"):
        export(backbone, card, tmp_path / "b.safetensors", format="safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]
    assert (tmp_path / "b.safetensors").read_text() == "earlier"


class _KnowsItsBatch(nn.Module):
    """Its batch size is a number of the program once it is traced."""

    out_dim = 2

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))[:, :2] * len(images)


@pytest.mark.parametrize("format", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_network_that_only_runs_the_batch_it_was_traced_with_is_rejected(
    card: dict[str, Any], tmp_path: Path, format: str
) -> None:
    path = tmp_path / f"b{module.SUFFIXES[format][0]}"
    with pytest.raises(CheckpointError, match=f"_KnowsItsBatch cannot be exported as {format} for any batch size"):
        export(_KnowsItsBatch(), card, path, format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"type": "ResNet", "depth": 50, "width": 0.25, "selective_kernels": True},
            "has no network like the ResNet with 3-4-6-3 blocks of width 64-128-256-512; .* safetensors, onnx or",
        ),
        (
            {"type": "ViT", "embed_dim": 32, "depth": 2, "num_heads": 4, "image_size": 32},
            "ViT cannot be exported as torchvision for images of 64 px .*Expected 32 but got 64.* safetensors",
        ),
    ],
)
def test_what_a_library_does_not_have_is_said_as_it_is(
    arguments: dict[str, Any], said: str, card: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        export(BACKBONES.build(arguments), card, tmp_path / "b.pth", format="torchvision")
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_relative_to_the_greatest_feature() -> None:
    features = torch.tensor([[1.0, -4.0]])
    assert relative_difference(lambda _: features, lambda _: features + torch.tensor([0.0, 1.0]), IMAGES) == 0.25
    assert relative_difference(lambda _: features, lambda _: features[:, :1], IMAGES) == float("inf")


@pytest.mark.parametrize(
    ("format", "name", "what"),
    [
        ("onx", "b.onnx", "--format: no format is called 'onx'; did you mean 'onnx'"),
        ("safetensors", "b.pth", r"must end in \.safetensors, got '.*b\.pth'"),
        ("timm", "card.json", r"a file of format timm must end in \.pth or \.safetensors, got '.*card\.json'"),
        ("torch-export", "file/in/b.pt2", r"b\.pt2: cannot be written \(Not a directory\)"),
    ],
)
def test_wrong_requests_are_explained(
    backbone: nn.Module, card: dict[str, Any], tmp_path: Path, format: str, name: str, what: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=what):
        export(backbone, card, tmp_path / name, format=format)


def test_a_package_that_is_missing_is_named_with_its_extra(
    backbone: nn.Module, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", missing)
    for format, file, extra in (("onnx", "b.onnx", "export"), ("timm", "b.pth", "timm")):
        with pytest.raises(CheckpointError, match=rf"needs the package {format}, .*pip install 'selfsup\[{extra}\]'"):
            export(backbone, card, tmp_path / file, format=format)


def test_the_card_of_a_run_says_what_its_config_says(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["model"]["preprocess"] = {"mean": (0.485, 0.456, 0.406), "std": (0.228, 0.224, 0.225)}
    method = METHODS.build(config["model"])
    card = json.loads(json.dumps(run_card(Recipe.from_dict({**config, "recipe": "tiny"}), method, step=8)))
    shown = InputContract(32, "shorter:37", mean=(0.485, 0.456, 0.406), std=(0.228, 0.224, 0.225))
    assert card["preprocess"] == shown.to_dict() and InputContract.from_dict(card["preprocess"]) == shown
    config["input_contract"] = {"size": 24, "resize": "none", "interpolation": "bicubic"}
    stated = run_card(Recipe.from_dict({**config, "recipe": "tiny"}), method, step=8)["preprocess"]
    assert stated == shown.replace(**config["input_contract"]).to_dict()
    assert card["recipe"] == {"config": "tiny", "method": "SwAV"} and card["step"] == 8 and card["license"] == "yours"
    assert card["parameters"] == sum(parameter.numel() for parameter in method.backbone.parameters())
    assert np.array_equal(card["backbone"]["widths"], (8, 16, 24, 32)) and card["out_dim"] == 32
