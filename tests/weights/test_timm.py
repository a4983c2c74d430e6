"""Every network of timm takes its own weights, with or without classifier, and ours go back."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights import LoadReport, trained_backbone
from selfsup.weights.export import export
from selfsup.weights.load import load_backbone
from selfsup.weights.translate import find_weights
from tests.weights.networks import assert_relatively_close, card_of, images_of, randomized, saved

IMAGES = images_of(64)
SMALL_VIT = {"img_size": 64, "depth": 1}
SMALL_BEIT = {**SMALL_VIT, "embed_dim": 48, "num_heads": 2}


def build(name: str, model_args: dict[str, Any] | None = None) -> Any:
    return BACKBONES.build({"type": "Timm", "name": name, "model_args": model_args})


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "model_args", "kept", "aside"),
    [
        ("resnet10t", {}, "layer4.0.bn2", ["fc"]),
        ("mobilenetv3_small_050", {}, "conv_head", ["classifier"]),
        ("test_convnext", {}, "head.norm", ["head.fc"]),
        ("vit_tiny_patch16_224", {**SMALL_VIT, "global_pool": "avg"}, "fc_norm", ["head"]),
        ("beit_base_patch16_224", SMALL_BEIT, "fc_norm", ["head"]),
        ("eva02_tiny_patch14_224", {**SMALL_VIT, "patch_size": 16}, "fc_norm", ["head"]),  # timm's has no classifier
        ("deit_tiny_distilled_patch16_224", SMALL_VIT, "norm", ["head", "head_dist"]),
    ],
)
def test_only_the_classifier_of_this_network_is_ignored(
    timm: ModuleType, tmp_path: Path, name: str, model_args: dict[str, Any], kept: str, aside: list[str]
) -> None:
    reference: Any = randomized(timm.create_model(name, num_classes=5, **model_args))
    model = build(name, model_args).eval()
    report = load_backbone(saved(reference.state_dict(), tmp_path), model, "timm")
    assert {f"model.{kept}.weight", f"model.{kept}.bias"} <= set(report.loaded)
    assert sorted(report.ignored["classifier"]) == [f"{each}.{part}" for each in aside for part in ("bias", "weight")]
    features = reference.forward_head(reference.forward_features(IMAGES), pre_logits=True)
    assert_relatively_close(model(IMAGES), features)

    architecture = {"type": "Timm", "name": name, "model_args": model_args}
    card = card_of(architecture, model, size=64)
    written = export(model, card, tmp_path / "ours.pth", format="timm")
    names: dict[str, Any] = {"torch": torch, "timm": timm}
    exec(written.usage, names)
    assert_relatively_close(names["model"].eval()(IMAGES), features)
    again = build(name, model_args).eval()
    report = load_backbone(tmp_path / "ours.pth", again, "timm")
    assert report.complete and not report.ignored
    for network in (again, trained_backbone(tmp_path / "ours.pth")):
        assert torch.equal(network(IMAGES), model(IMAGES))


def reported(whole: nn.Module, model: Any, **changes: Any) -> LoadReport:
    state = {**whole.state_dict(), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    return find_weights(kept, model, source="timm", file="x.pth")[1]


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("legacy_seresnet18", ["last_linear"]),
        ("inception_resnet_v2", ["classif"]),
        ("volo_d1_224", ["head", "aux_head"]),
        ("hiera_tiny_224", ["head.fc"]),
        ("efficientvit_b0", ["head.classifier.4"]),
        ("efficientvim_m1", ["heads.0", "heads.1", "heads.2", "heads.3"]),
    ],
)
@pytest.mark.parametrize("num_classes", [1, 1000])
def test_classifiers_have_many_names(timm: ModuleType, name: str, aside: list[str], num_classes: int) -> None:
    with torch.device("meta"):
        whole, model = timm.create_model(name, num_classes=num_classes), build(name)
    report = reported(whole, model)
    assert set(report.ignored["classifier"]) == {f"{each}.{part}" for each in aside for part in ("weight", "bias")}
    assert report.loaded == tuple(model.state_dict())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_second_classifier_that_is_built_without_rows_stays_so(timm: ModuleType) -> None:
    with torch.device("meta"):
        whole = timm.create_model("inception_v3", aux_logits=True)
        model = build("inception_v3", {"aux_logits": True})
    report = reported(whole, model)
    assert sorted(report.ignored["classifier"]) == ["AuxLogits.fc.bias", "AuxLogits.fc.weight", "fc.bias", "fc.weight"]
    assert report.kept == ("model.AuxLogits.fc.weight", "model.AuxLogits.fc.bias")


def test_what_is_no_classifier_of_this_network_is_rejected(timm: ModuleType) -> None:
    with torch.device("meta"):
        whole, model = timm.create_model("test_convnext"), build("test_convnext")
    changes = {"head.norm.weight": None, "fc.weight": torch.zeros(2), "head.fc.scale": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        reported(whole, model, **changes)
    said = "; 1 missing: model.head.norm.weight; 2 unexpected: fc.weight, head.fc.scale"
    assert caught.value.problems[0].message.endswith(said)


def test_bounds_that_do_not_bind_are_infinite(timm: ModuleType, tmp_path: Path) -> None:
    model_args = {"depth": 1, "embed_dim": 64, "num_heads": 1}
    whole = timm.create_model("gemma4_vit_167m_enc", **model_args)
    state = whole.state_dict()
    model = build("gemma4_vit_167m_enc", model_args)
    name = "blocks.0.attn.q_proj.input_max"
    assert state[name] == float("inf")
    assert f"model.{name}" in load_backbone(saved(state, tmp_path), model, "timm").loaded
    path = saved({**state, name: torch.tensor(float("nan"))}, tmp_path)
    with pytest.raises(CheckpointError, match=rf"numbers are not finite in model\.{name}"):
        load_backbone(path, model, "timm")


def test_weights_are_fetched_once_at_most(timm: ModuleType, tmp_path: Path) -> None:
    whole = timm.create_model("test_convnext", num_classes=0)
    path = saved(whole.state_dict(), tmp_path)
    model = build("test_convnext", {"checkpoint_path": str(path), "drop_rate": 0.1})
    path.unlink()
    assert model.classifier_tensors() == {"head.fc.weight", "head.fc.bias"} and model.model_args == {"drop_rate": 0.1}


@pytest.mark.slow
def test_every_file_of_networks_that_timm_has(timm: ModuleType) -> None:
    first = {timm.models._registry._model_entrypoints[name].__module__: name for name in timm.list_models()[::-1]}
    assert len(first) > 90
    for name in first.values():
        with torch.device("meta"):
            whole, model = timm.create_model(name, num_classes=10), build(name)
        report = reported(whole, model)
        assert report.loaded == tuple(model.state_dict()), name
        assert len(report.loaded) + len(report.ignored.get("classifier", ())) == len(whole.state_dict()), name
