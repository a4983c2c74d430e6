"""Checkpoints in the layouts of the papers' code: equal features, and every tensor accounted for."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES, METHODS
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.convert import convert_file
from selfsup.weights.load import load_backbone
from tests.weights import official
from tests.weights.networks import TINY, assert_same_features, rejected, resnet, tiny_regnet

LAYERS = ["layer1", "layer2", "layer3", "layer4"]
RESNET = {"type": "ResNet", "depth": 18}
REGNET = {"type": "RegNet", **TINY}


def without_classifier(reference: nn.Module) -> nn.Module:
    reference.fc = nn.Identity()
    return reference


FILES: dict[str, tuple[str, Callable[[nn.Module], Any], dict[str, int]]] = {
    "swav": ("swav", official.swav, {"projection head": 9, "prototypes": 1}),
    "moco v2": ("moco", official.moco_v2, {"projection head": 4, "teacher": 124, "queue": 2}),
    "moco v3": (
        "moco",
        lambda net: official.moco_v3(net, "fc."),
        {"projection head": 10, "teacher": 130, "predictor": 7},
    ),
    "simsiam": ("simsiam", official.simsiam, {"projection head": 8, "predictor": 8}),
    "byol, lucidrains": (
        "byol",
        official.byol_lucidrains,
        {
            "projection head": 11,
            "the encoder under its second name": 122,
            "teacher": 131,
            "predictor": 2,
            "constants of the augmentation": 1,
        },
    ),
    "byol, sthalles": (
        "byol",
        official.byol_sthalles,
        {
            "projection head": 9,
            "encoder_state_dict (key='encoder_state_dict' takes it)": 120,
            "target_network_state_dict (key='target_network_state_dict' takes it)": 129,
        },
    ),
    "byol, yaox12": ("byol", official.byol_yaox12, {"projection head": 2, "teacher": 122, "predictor": 1}),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_resnet_checkpoint(name: str, legacy: bool, tmp_path: Path) -> None:
    source, layout, aside = FILES[name]
    reference = resnet(18)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(layout(reference), path, _use_new_zipfile_serialization=not legacy)
    model = BACKBONES.build(RESNET)
    report = load_backbone(path, model, source)
    assert {why: len(names) for why, names in report.ignored.items()} == aside
    assert len(report.loaded) == len(model.state_dict()) and not report.kept
    assert_same_features(model, reference, LAYERS, without_classifier(reference))


@pytest.mark.parametrize(
    "variant", ["plain", "parts", "sharded and put together", "feature extractor", "trunk", "bare", "wrapped"]
)
def test_a_seer_checkpoint(variant: str, tmp_path: Path) -> None:
    reference = tiny_regnet()
    names = official.vissl_names(reference, parts=variant == "parts")
    checkpoint = official.vissl(names, 48)
    model_part = checkpoint["classy_state_dict"]["base_model"]["model"]
    if variant == "sharded and put together":
        inserted = "._fsdp_wrapped_module._fpw_module.f."
        model_part["trunk"] = {name.replace(".f.", inserted): tensor for name, tensor in names.items()}
        model_part["heads"] = [{name[2:]: tensor for name, tensor in model_part["heads"].items()}]
    if variant == "feature extractor":
        model_part["trunk"] = official.prefixed("base_model.", names)
    alone = {"trunk": official.prefixed("trunk.", names), "bare": names, "wrapped": {"model_state_dict": names}}
    torch.save(alone.get(variant, checkpoint), tmp_path / "seer.torch")
    model = BACKBONES.build(REGNET)
    report = load_backbone(tmp_path / "seer.torch", model, "vissl")
    assert {why: len(aside) for why, aside in report.ignored.items()} == ({} if variant in alone else {"heads": 7})
    stages = [f"trunk_output.block{number}" for number in (1, 2, 3, 4)]
    assert_same_features(model, reference, stages, without_classifier(reference))


def test_timm_reads_the_same_out_of_a_seer_checkpoint(timm: ModuleType, tmp_path: Path) -> None:
    checkpoint = official.vissl(official.vissl_names(tiny_regnet()), 48)
    expected = timm.models.regnet._filter_fn(checkpoint)
    torch.save(checkpoint, tmp_path / "seer.torch")
    model = BACKBONES.build(REGNET)
    load_backbone(tmp_path / "seer.torch", model, "vissl")
    actual = model.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_a_vissl_resnet_checkpoint(tmp_path: Path) -> None:
    reference = resnet(18)
    torch.save(
        official.vissl(official.prefixed("_feature_blocks.", official.trunk(reference)), 512), tmp_path / "x.torch"
    )
    model = BACKBONES.build(RESNET)
    load_backbone(tmp_path / "x.torch", model, "vissl")
    assert_same_features(model, reference, LAYERS, without_classifier(reference))


def swav_config(backbone: dict[str, Any], *, seer: bool, prototypes: int = 6) -> dict[str, Any]:
    return {
        "type": "SwAV",
        "backbone": backbone,
        "neck": {
            "type": "ProjectionNeck",
            "hidden_dims": (20, 16) if seer else (20,),
            "out_dim": 12,
            "bn": not seer,
        },
        "prototypes": {"type": "Prototypes", "num_prototypes": prototypes},
        "loss": {"type": "SwAVLoss", "temperature": 0.1},
        "queue_length": 8,
    }


@pytest.mark.parametrize("source", ["vissl", "swav"])
def test_training_can_start_from_the_whole_method(source: str, tmp_path: Path) -> None:
    reference = tiny_regnet() if source == "vissl" else resnet(18)
    torch.manual_seed(0)
    checkpoint = official.vissl(official.vissl_names(reference), 48) if source == "vissl" else official.swav(reference)
    torch.save(checkpoint, tmp_path / "theirs.pth")
    seer = source == "vissl"
    config = swav_config(REGNET if seer else RESNET, seer=seer)
    report = convert_file(
        tmp_path / "theirs.pth",
        tmp_path / "ours.pth",
        architecture=config["backbone"],
        method=config,
        source=source,
    )
    assert report.kept == ("queue.rows", "queue.filled") and not report.ignored
    method = METHODS.build(config)
    load_method(tmp_path / "ours.pth", method)
    images = torch.randn(2, 3, 64, 64)
    features = without_classifier(reference)(images)
    in_dim = features.shape[1]
    torch.manual_seed(0)
    head, state = (official.seer_head if seer else official.swav_head)(in_dim)
    with torch.no_grad():
        expected = head(features) @ state["prototypes.weight"].T
        method.eval()
        actual = method.prototypes(method.neck(method.backbone(images)))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert Checkpoint.read(tmp_path / "ours.pth").model["queue.rows"].abs().sum() == 0


def test_heads_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    seer = official.vissl(official.vissl_names(tiny_regnet()), 48)

    def said(state: object, *, source: str = "vissl", **sizes: Any) -> str:
        path, backbone = tmp_path / "theirs.pth", REGNET if source == "vissl" else RESNET
        method = swav_config(backbone, seer=source == "vissl", **sizes)
        torch.save(state, path)
        with pytest.raises(CheckpointError) as caught:
            convert_file(path, tmp_path / "o.pth", architecture=backbone, method=method, source=source)
        assert caught.value.problems[0].path == str(path) and not (tmp_path / "o.pth").exists()
        return caught.value.problems[0].message

    mismatch = "; 1 shape mismatch: prototypes.weight: (6, 12), expected (7, 12)"
    assert said(seer, prototypes=7).endswith(mismatch)
    heads = seer["classy_state_dict"]["base_model"]["model"]["heads"]
    heads |= {"1.projection_head.0.bias": torch.zeros(20), "0.prototypes1.weight": torch.zeros(6, 12)}
    second = "2 unexpected: heads.1.projection_head.0.bias, heads.0.prototypes1.weight"
    assert said(seer).endswith(second)
    assert said(official.moco_v2(resnet(18)), source="moco").endswith("those of vissl, swav are")


@pytest.mark.parametrize("kind", ["shard", "shard_list", "slice_list"])
def test_a_share_of_a_sharded_model_is_rejected_with_what_puts_it_together(kind: str, tmp_path: Path) -> None:
    problem = rejected({"type": kind, "shards": ["a", "b"]}, BACKBONES.build(REGNET), tmp_path, "vissl")
    assert problem.got == kind and "extra_scripts/convert_sharded_checkpoint.py" in problem.expected
