"""Weights of a network that computes something else are rejected where a card, a config or the source says so."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.backbones import ViT
from selfsup.cli import main
from selfsup.config import dump_config
from selfsup.engine.runner import Runner
from selfsup.engine.start import TrainedWeights, load_method, start_from
from selfsup.errors import CheckpointError
from selfsup.losses import CrossEntropyLoss, NTXentLoss
from selfsup.methods import SimCLR, Supervised
from selfsup.necks import ProjectionNeck
from selfsup.registry import BACKBONES
from selfsup.weights import trained_backbone
from selfsup.weights.card import weights_card
from selfsup.weights.convert import convert_file
from selfsup.weights.load import load_backbone
from selfsup.weights.rules import bit
from selfsup.weights.rules.rule import renamed
from selfsup.weights.write import write_weights
from tests.engine.tiny_run import tiny_config
from tests.weights import official

VIT: dict[str, Any] = {"type": "ViT", "embed_dim": 24, "depth": 1, "num_heads": 3, "image_size": 32, "patch_size": 8}
TINY: dict[str, Any] = {"type": "ViT", "arch": "tiny", "depth": 1, "image_size": 32}
POWER: dict[str, Any] = {**VIT, "type": "WithPower"}
BIT: dict[str, Any] = {"type": "BiTResNet", "depth": 14, "width": 0.25, "num_groups": 8}
RESNET: dict[str, Any] = {"type": "ResNet", "depth": 18, "width": 0.25}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


class Scaled(nn.Module):
    """A network of somebody else's, with settings that nothing of it shows.

    Args:
        width: channels.
        scale: of the features.
        act: what is applied to them.
        drop_path: of training alone.
        checkpoint_stages: likewise.
    """

    def __init__(
        self,
        width: int,
        *,
        scale: float = 1.0,
        act: str = "relu",
        drop_path: float = 0.0,
        checkpoint_stages: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.out_dim = width
        self.scale, self.act = scale, act
        self.conv = nn.Conv2d(3, width, 4, stride=4)
        self.pooled = (
            (lambda maps: maps.mean((2, 3)) * scale) if act == "none" else lambda maps: maps.relu().sum((2, 3))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (B, width)."""
        return self.pooled(self.conv(images))

    def not_in_weights(self) -> dict[str, Any]:
        """What no tensor tells."""
        return {"scale": self.scale, "act": self.act}


class WithPower(ViT):
    """A ViT whose features are raised to a power."""

    def __init__(self, power: int = 1, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.exponent = power

    def not_in_weights(self) -> dict[str, Any]:
        """What no tensor tells."""
        return {**super().not_in_weights(), "power": self.exponent}


@pytest.fixture
def theirs() -> Iterator[None]:
    """Their classes are registered in the test."""
    BACKBONES.import_from_location()
    before = dict(BACKBONES._module_dict)
    for component in (Scaled, WithPower):
        BACKBONES.register_module(module=component)
    yield
    BACKBONES._module_dict = before


def written(path: Path, architecture: dict[str, Any]) -> nn.Module:
    """A network whose weights and card are at a path."""
    torch.manual_seed(5)
    backbone = BACKBONES.build(dict(architecture)).eval()
    card = weights_card(architecture, backbone, mean=None, std=None, size=None, recipe={}, step=None, license="yours")
    write_weights(backbone.state_dict(), path, card)
    return backbone


def simclr(backbone: nn.Module) -> SimCLR:
    return SimCLR(backbone, ProjectionNeck(backbone.out_dim, (6,), 4), NTXentLoss())  # type: ignore[arg-type]


def supervised(backbone: nn.Module) -> Supervised:
    return Supervised(backbone, 3, CrossEntropyLoss())


DIFFERENT = [
    ({**VIT, "num_heads": 6}, VIT, "num_heads=6, and this one 3;"),
    ({**TINY, "num_heads": 6}, TINY, "num_heads=6, and this one 3;"),
    ({**VIT, "pool": "mean"}, VIT, "pool='mean', and this one 'token';"),
    ({**VIT, "pool": "mean", "num_heads": 6}, VIT, "num_heads=6, pool='mean', and this one 3, 'token';"),
    (BIT, {**BIT, "num_groups": 16}, "num_groups=8, and this one 16;"),
    ({"type": "Scaled", "width": 4}, {"type": "Scaled", "width": 4, "scale": 2.0}, "scale=1.0, and this one 2.0;"),
    ({"type": "Scaled", "width": 4, "act": "none"}, {"type": Scaled, "width": 4}, "act='none', and this one 'relu';"),
    ({**POWER, "power": 2}, POWER, "power=2, and this one 1;"),
    ({**POWER, "pool": "mean"}, VIT, "pool='mean', and this one 'token';"),
]


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(("name", "alone"), [("w.safetensors", True), ("w.pth", False), ("w.pth", True)])
@pytest.mark.parametrize(("of", "into", "said"), DIFFERENT)
def test_a_card_s_network_is_not_taken_for_another(
    tmp_path: Path, name: str, alone: bool, of: dict[str, Any], into: dict[str, Any], said: str
) -> None:
    written(tmp_path / name, of)
    if alone:  # as files are copied
        (tmp_path / "w.json").unlink()
    for load in (load_backbone, lambda path, model: load_method(path, simclr(model))):
        model = BACKBONES.build(dict(into))
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        with pytest.raises(
            CheckpointError, match=re.escape(f"{tmp_path / name}: by its card the weights' network has {said}")
        ):
            load(tmp_path / name, model)
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@torch.no_grad()
@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    ("of", "into"),
    [
        (TINY, {"type": ViT, "embed_dim": 192, "depth": 1, "num_heads": 3, "image_size": 32}),
        (VIT, {**VIT, "pool": "token", "position": "sincos", "arch": None}),
        (VIT, {**VIT, "position": "learned", "frozen_patch_projection": True, "checkpoint_stages": (1, 2)}),
        ({**BIT, "checkpoint_stages": [1, 2]}, {**BIT, "stem": "imagenet", "eps": 1e-10}),
        (RESNET, {**RESNET, "zero_init_residual": True, "checkpoint_stages": (1,)}),
        (
            {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8},
            {"type": "RegNet", "depths": [1, 1, 1, 1], "widths": [8, 16, 24, 32], "group_width": 8, "stem_width": 32},
        ),
        (
            {"type": Scaled, "width": 4},
            {"type": "Scaled", "width": 4, "scale": 1, "act": "relu", "drop_path": 0.1, "checkpoint_stages": (1,)},
        ),
        (POWER, VIT),
    ],
)
def test_what_changes_nothing_does_not_matter(tmp_path: Path, of: dict[str, Any], into: dict[str, Any]) -> None:
    expected = written(tmp_path / "w.safetensors", of)
    model = BACKBONES.build(dict(into)).eval()
    load_backbone(tmp_path / "w.safetensors", model)
    assert torch.equal(model(IMAGES), expected(IMAGES))
    load_method(tmp_path / "w.safetensors", simclr(model))


def test_shapes_come_before_what_they_do_not_show(tmp_path: Path) -> None:
    written(tmp_path / "w.pth", VIT)
    with pytest.raises(CheckpointError, match="shape mismatch"):
        load_backbone(tmp_path / "w.pth", BACKBONES.build({**VIT, "embed_dim": 48, "num_heads": 6}))


def test_without_a_card_and_of_another_type_shapes_decide(tmp_path: Path) -> None:
    torch.save(BACKBONES.build({**VIT, "num_heads": 6}).state_dict(), tmp_path / "plain.pth")
    load_backbone(tmp_path / "plain.pth", BACKBONES.build(dict(VIT)))
    model = written(tmp_path / "w.pth", {**VIT, "num_heads": 6})
    card = json.loads((tmp_path / "w.json").read_text())
    for described in ({**RESNET}, {"type": "NoSuchNetwork", "num_heads": 6}, {"num_heads": 6}):
        (tmp_path / "w.json").write_text(json.dumps({**card, "backbone": described}))
        load_backbone(tmp_path / "w.pth", model)


def test_the_config_in_somebody_else_s_file_is_not_ours(tmp_path: Path) -> None:
    model = BACKBONES.build(dict(RESNET))
    theirs = {
        "config": {"model": {"backbone": {"type": "ResNet", "name": "resnet18"}}},
        "state_dict": model.state_dict(),
    }
    torch.save(theirs, tmp_path / "x.pth")
    load_backbone(tmp_path / "x.pth", model, "timm")


@pytest.mark.parametrize("wrong", [{"heads": 2}, {"num_heads": 5}, {"num_heads": "3"}])
def test_a_card_that_cannot_be_compared_is_rejected_with_the_way_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    written(tmp_path / "w.pth", VIT)
    (tmp_path / "w.json").write_text(json.dumps({"backbone": {**VIT, **wrong}}))
    with pytest.raises(CheckpointError, match=r"w\.pth: .* its card describes cannot be built here .* as w\.json$"):
        load_backbone(tmp_path / "w.pth", BACKBONES.build(dict(VIT)))


def run(folder: Path, backbone: dict[str, Any], *, steps: int = 1, **changes: Any) -> Runner:
    config = tiny_config(folder, steps=steps, **changes)
    config["model"]["backbone"] = backbone
    config["train_dataloader"]["views"] |= {"sizes": (32, 16)}
    return Runner(config, device="cpu")


CONFIG = "by the config in it the weights' network has num_heads=3, and this one 6; build it with num_heads=3"


@pytest.mark.parametrize("kind", ["ViT", ViT])
def test_the_config_in_a_checkpoint_says_it_too(tmp_path: Path, kind: Any) -> None:
    run(tmp_path / "run", {**VIT, "type": kind}).train()
    file = tmp_path / "run" / "checkpoints" / "step_000000001.pth"
    rejected = pytest.raises(CheckpointError, match=f"^{re.escape(f'{file}: {CONFIG}')}$")
    same, other = BACKBONES.build(dict(VIT)), BACKBONES.build({**VIT, "num_heads": 6})
    load_backbone(file, same)
    start_from(file, supervised(same))
    with rejected:
        load_backbone(file, other)
    with rejected:
        TrainedWeights()(str(file), run(tmp_path / "taught", {**VIT, "num_heads": 6}).method)
    with rejected:
        start_from(file, supervised(other))
    with rejected:  # the same method
        run(tmp_path / "next", {**VIT, "num_heads": 6}, load_from=str(file)).train()
    with rejected:
        Runner(run_config(tmp_path / "run", {**VIT, "num_heads": 6}), resume=True, device="cpu").train()
    Runner(run_config(tmp_path / "run", {**VIT, "checkpoint_stages": (1,)}), resume=True, device="cpu").train()


def run_config(folder: Path, backbone: dict[str, Any]) -> dict[str, Any]:
    config = tiny_config(folder, steps=2)
    config["model"]["backbone"] = backbone
    return config


def test_commands_reject_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", VIT).train()
    config = run_config(tmp_path / "other", {**VIT, "num_heads": 6}) | {"evaluators": {"spread": {"type": "Spread"}}}
    (tmp_path / "other.py").write_text(dump_config(config))
    words = [str(tmp_path / "other.py"), str(tmp_path / "run")]
    out = tmp_path / "o.safetensors"
    for command in (["test", *words, "--device", "cpu"], ["export", *words, "--output", str(out)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"step_000000001.pth: {CONFIG}\n" in said and "Traceback" not in said
    assert not out.exists()


def test_moco_v3_s_networks_have_twelve_heads(tmp_path: Path) -> None:
    small = {**VIT, "num_heads": 12}
    torch.save(official.moco_v3(BACKBONES.build(small), "head."), tmp_path / "vit.pth.tar")
    load_backbone(tmp_path / "vit.pth.tar", BACKBONES.build({**small, "position": "learned"}), "moco")
    said = "by source='moco' the weights' network has num_heads=12, and this one 3; build it with num_heads=12"
    with pytest.raises(CheckpointError, match=re.escape(said)):
        load_backbone(tmp_path / "vit.pth.tar", BACKBONES.build(dict(VIT)), "moco")
    with pytest.raises(CheckpointError, match=re.escape(said)):
        convert_file(tmp_path / "vit.pth.tar", tmp_path / "o.pth", architecture=VIT, source="moco")
    assert not (tmp_path / "o.pth").exists()


def test_other_sources_say_what_is_always_so(timm: ModuleType, tmp_path: Path) -> None:
    arrays = official.bit_npz(timm.create_model("resnetv2_50x1_bit", num_classes=5))
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"by source='bit' .* has num_groups=32, and this one 16; build it with"):
        load_backbone(tmp_path / "x.npz", BACKBONES.build({"type": "BiTResNet", "depth": 50, "num_groups": 16}), "bit")


@torch.no_grad()
def test_what_a_card_says_of_an_exported_layout_comes_before_the_source(tmp_path: Path) -> None:
    architecture = {**VIT, "pool": "mean"}
    model = written(tmp_path / "w.pth", architecture)
    card = json.loads((tmp_path / "w.json").read_text()) | {"format": "timm"}
    (tmp_path / "w.json").write_text(json.dumps(card))
    assert torch.equal(trained_backbone(tmp_path / "w.pth")(IMAGES), model(IMAGES))
    with pytest.raises(CheckpointError, match="by its card the weights' network has pool='mean', and this one 'token'"):
        load_backbone(tmp_path / "w.pth", BACKBONES.build(dict(VIT)), "timm")
    deep = written(tmp_path / "b.pth", BIT)
    card = json.loads((tmp_path / "b.json").read_text()) | {"format": "timm"}
    write_weights(renamed(deep.state_dict(), bit.TO_TIMM), tmp_path / "b.pth", card)
    again: Any = trained_backbone(tmp_path / "b.pth")
    assert again.eps == 1e-10 and torch.equal(again(IMAGES), deep(IMAGES))
    (tmp_path / "b.json").unlink()
    write_weights(renamed(deep.state_dict(), bit.TO_TIMM), tmp_path / "b.pth")
    with pytest.raises(
        CheckpointError, match="by source='timm' the weights' network has num_groups=32, and this one 8"
    ):
        load_backbone(tmp_path / "b.pth", again, "timm")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("resnet10t", {"global_pool": "avg", "drop_path_rate": 0.1, "drop_rate": 0.2, "zero_init_last": False}, None),
        ("resnet10t.c3_in1k", {}, None),
        ("resnet10t", {"pretrained": False}, None),
        ("resnet10t", {"global_pool": "max"}, r"global_pool\.pool_type='avg', .*, and this one 'max', "),
        ("resnet10t", {"output_stride": 16}, r"layer4\.0\.stride=2, .* and this one 1, "),
        ("resnet10t", {"act_layer": "gelu"}, r"conv1\.2='ReLU', .* and this one 'GELU', "),
    ],
)
def test_networks_of_timm_are_compared_by_what_they_are_put_together_of(
    timm: ModuleType, tmp_path: Path, name: str, arguments: dict[str, Any], said: str | None
) -> None:
    written(tmp_path / "w.pth", {"type": "Timm", "name": "resnet10t"})
    model = BACKBONES.build({"type": "Timm", "name": name, "model_args": arguments})
    if said is None:
        load_backbone(tmp_path / "w.pth", model)
        return
    with pytest.raises(
        CheckpointError,
        match=rf"by its card the weights' network has {said}.*; build it as dict\(type='Timm', name='resnet10t'\)$",
    ):
        load_backbone(tmp_path / "w.pth", model)
