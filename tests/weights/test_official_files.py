"""Checkpoints in the layouts of the papers' code: equal features, and every tensor accounted for."""

from collections.abc import Callable
from functools import partial
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
from tests.weights.networks import (
    LAYERS,
    REGNET,
    REGNET_STAGES,
    RESNET,
    assert_same_features,
    rejected,
    resnet,
    saved,
    tiny_regnet,
    without_classifier,
)

FILES: dict[str, tuple[str, Callable[[nn.Module], Any], dict[str, int]]] = {
    "swav": ("swav", official.swav, {"projection head": 9, "prototypes": 1}),
    "moco v2": ("moco", official.moco_v2, {"projection head": 4, "teacher": 124, "queue": 2}),
    "moco v3": ("moco", partial(official.moco_v3, head="fc."), {"projection head": 10, "teacher": 130, "predictor": 7}),
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
    model = BACKBONES.build(REGNET)
    report = load_backbone(saved(alone.get(variant, checkpoint), tmp_path), model, "vissl")
    assert {why: len(aside) for why, aside in report.ignored.items()} == ({} if variant in alone else {"heads": 7})
    assert_same_features(model, reference, REGNET_STAGES, without_classifier(reference))


def test_timm_reads_the_same_out_of_a_seer_checkpoint(timm: ModuleType, tmp_path: Path) -> None:
    checkpoint = official.vissl(official.vissl_names(tiny_regnet()), 48)
    expected = timm.models.regnet._filter_fn(checkpoint)
    model = BACKBONES.build(REGNET)
    load_backbone(saved(checkpoint, tmp_path), model, "vissl")
    torch.testing.assert_close(dict(model.state_dict()), expected, rtol=0, atol=0)


def test_a_vissl_resnet_checkpoint(tmp_path: Path) -> None:
    reference = resnet(18)
    trunk, model = official.prefixed("_feature_blocks.", official.trunk(reference)), BACKBONES.build(RESNET)
    load_backbone(saved(official.vissl(trunk, 512), tmp_path), model, "vissl")
    assert_same_features(model, reference, LAYERS, without_classifier(reference))


def swav_config(backbone: dict[str, Any], *, seer: bool, prototypes: int = 6) -> dict[str, Any]:
    hidden_dims = (20, 16) if seer else (20,)
    return {
        "type": "SwAV",
        "backbone": backbone,
        "neck": {"type": "ProjectionNeck", "hidden_dims": hidden_dims, "out_dim": 12, "bn": not seer},
        "prototypes": {"type": "Prototypes", "num_prototypes": prototypes},
        "loss": {"type": "SwAVLoss", "temperature": 0.1},
        "queue_length": 8,
    }


@pytest.mark.parametrize("source", ["vissl", "swav"])
def test_training_can_start_from_the_whole_method(source: str, tmp_path: Path) -> None:
    seer = source == "vissl"
    reference = tiny_regnet() if seer else resnet(18)
    torch.manual_seed(0)
    theirs = saved(official.vissl(official.vissl_names(reference), 48) if seer else official.swav(reference), tmp_path)
    config = swav_config(REGNET if seer else RESNET, seer=seer)
    how = {"architecture": config["backbone"], "method": config, "source": source}
    report = convert_file(theirs, tmp_path / "ours.pth", **how)
    assert report.kept == ("queue.rows", "queue.filled") and not report.ignored
    method = METHODS.build(config)
    load_method(tmp_path / "ours.pth", method)
    images = torch.randn(2, 3, 64, 64)
    features = without_classifier(reference)(images)
    torch.manual_seed(0)
    head, state = (official.seer_head if seer else official.swav_head)(features.shape[1])
    with torch.no_grad():
        expected = head(features) @ state["prototypes.weight"].T
        method.eval()
        actual = method.prototypes(method.neck(method.backbone(images)))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert Checkpoint.read(tmp_path / "ours.pth").model["queue.rows"].abs().sum() == 0


def test_heads_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    seer = official.vissl(official.vissl_names(tiny_regnet()), 48)

    def said(state: object, *, source: str = "vissl", **sizes: Any) -> str:
        path, backbone = saved(state, tmp_path), REGNET if source == "vissl" else RESNET
        method = swav_config(backbone, seer=source == "vissl", **sizes)
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
