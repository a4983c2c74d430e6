"""Weights of a network that computes something else are rejected where a card, a config or the source says so."""

import json
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
from selfsup.weights.convert import convert_file
from selfsup.weights.load import load_backbone
from selfsup.weights.write import write_weights
from tests.engine.tiny_run import BACKBONE as REGNET
from tests.engine.tiny_run import tiny_config
from tests.weights import official
from tests.weights.networks import rejection, written

VIT: dict[str, Any] = {"type": "ViT", "embed_dim": 24, "depth": 1, "num_heads": 3, "image_size": 32, "patch_size": 8}
TINY: dict[str, Any] = {"type": "ViT", "arch": "tiny", "depth": 1, "image_size": 32}
POWER: dict[str, Any] = {**VIT, "type": "WithPower"}
BIT: dict[str, Any] = {"type": "BiTResNet", "depth": 14, "width": 0.25, "num_groups": 8}
RESNET: dict[str, Any] = {"type": "ResNet", "depth": 18, "width": 0.25}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


class Scaled(nn.Module):
    """A network of somebody else's, with settings that nothing of it shows."""

    def __init__(self, width: int, *, scale: float = 1.0, act: str = "relu", drop_path: float = 0.0) -> None:
        super().__init__()
        self.out_dim = width
        self.scale, self.act = scale, act
        self.conv = nn.Conv2d(3, width, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return (maps.relu() if self.act == "relu" else maps).mean((2, 3)) * self.scale

    def not_in_weights(self) -> dict[str, Any]:
        return {"scale": self.scale, "act": self.act}


class WithPower(ViT):
    """A ViT whose features are raised to a power."""

    def __init__(self, power: int = 1, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.exponent = power

    def not_in_weights(self) -> dict[str, Any]:
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


def simclr(backbone: nn.Module) -> SimCLR:
    return SimCLR(backbone, ProjectionNeck(backbone.out_dim, (6,), 4), NTXentLoss())  # type: ignore[arg-type]


def supervised(backbone: nn.Module) -> Supervised:
    return Supervised(backbone, 3, CrossEntropyLoss())


def must_have(wanted: str, by: str = "its card") -> str:
    return f"the network must have {wanted}, as the weights' one by {by}"


DIFFERENT = [
    ({**VIT, "num_heads": 6}, VIT, "num_heads=6", "num_heads=3"),
    ({**TINY, "num_heads": 6}, TINY, "num_heads=6", "num_heads=3"),
    ({**VIT, "pool": "mean"}, VIT, "pool='mean'", "pool='token'"),
    ({**VIT, "pool": "mean", "num_heads": 6}, VIT, "num_heads=6, pool='mean'", "num_heads=3, pool='token'"),
    (BIT, {**BIT, "num_groups": 16}, "num_groups=8", "num_groups=16"),
    ({"type": "Scaled", "width": 4}, {"type": "Scaled", "width": 4, "scale": 2.0}, "scale=1.0", "scale=2.0"),
    ({"type": "Scaled", "width": 4, "act": "none"}, {"type": Scaled, "width": 4}, "act='none'", "act='relu'"),
    ({**POWER, "power": 2}, POWER, "power=2", "power=1"),
    ({**POWER, "pool": "mean"}, VIT, "pool='mean'", "pool='token'"),
]


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(("of", "into", "wanted", "got"), DIFFERENT)
def test_a_card_s_network_is_not_taken_for_another(
    tmp_path: Path, of: dict[str, Any], into: dict[str, Any], wanted: str, got: str
) -> None:
    for name, alone in (("w.safetensors", True), ("w.pth", False), ("w.pth", True)):
        written(tmp_path / name, of)
        if alone:  # as files are copied
            (tmp_path / "w.json").unlink()
        for load in (load_backbone, lambda path, model: load_method(path, simclr(model))):
            model, path = BACKBONES.build(dict(into)), tmp_path / name
            problem = rejection(lambda load=load, path=path, model=model: load(path, model), path, model)  # type: ignore[misc]
            assert (problem.message, problem.got) == (must_have(wanted), got)


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
        (REGNET, {**REGNET, "depths": [1, 1, 1, 1], "widths": [8, 16, 24, 32], "stem_width": 32}),
        ({"type": Scaled, "width": 4}, {"type": "Scaled", "width": 4, "scale": 1, "act": "relu", "drop_path": 0.1}),
        (POWER, VIT),
    ],
)
def test_what_changes_nothing_does_not_matter(tmp_path: Path, of: dict[str, Any], into: dict[str, Any]) -> None:
    expected = written(tmp_path / "w.safetensors", of)
    model = BACKBONES.build(dict(into)).eval()
    load_backbone(tmp_path / "w.safetensors", model)
    assert torch.equal(model(IMAGES), expected(IMAGES))
    load_method(tmp_path / "w.safetensors", simclr(model))


def test_shapes_come_before_what_they_do_not_show_and_decide_alone_without_a_statement(tmp_path: Path) -> None:
    other = {**VIT, "num_heads": 6}
    model = written(tmp_path / "w.pth", other)
    with pytest.raises(CheckpointError, match="shape mismatch"):
        load_backbone(tmp_path / "w.pth", BACKBONES.build({**VIT, "embed_dim": 48}))
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    load_backbone(tmp_path / "plain.pth", BACKBONES.build(dict(VIT)))
    card = json.loads((tmp_path / "w.json").read_text())
    for described in ({**RESNET}, {"type": "NoSuchNetwork", "num_heads": 6}, {"num_heads": 6}):
        (tmp_path / "w.json").write_text(json.dumps({**card, "backbone": described}))
        load_backbone(tmp_path / "w.pth", model)


def test_the_config_in_somebody_else_s_file_is_not_ours(tmp_path: Path) -> None:
    model = BACKBONES.build(dict(RESNET))
    config = {"model": {"backbone": {"type": "ResNet", "name": "resnet18"}}}
    torch.save({"config": config, "state_dict": model.state_dict()}, tmp_path / "x.pth")
    load_backbone(tmp_path / "x.pth", model, "timm")


@pytest.mark.parametrize("wrong", [{"heads": 2}, {"num_heads": 5}, {"num_heads": "3"}])
def test_a_card_that_cannot_be_compared_is_rejected_with_the_way_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    model, path = written(tmp_path / "w.pth", VIT), tmp_path / "w.pth"
    (tmp_path / "w.json").write_text(json.dumps({"backbone": {**VIT, **wrong}}))
    problem = rejection(lambda: load_backbone(path, model), path, model)
    assert problem.expected == "put a card of what it is beside it, as w.json"


def run_config(folder: Path, backbone: dict[str, Any], *, steps: int = 1, **changes: Any) -> dict[str, Any]:
    config = tiny_config(folder, steps=steps, **changes)
    config["model"]["backbone"] = backbone
    return config


def run(folder: Path, backbone: dict[str, Any], *, resume: bool = False, **changes: Any) -> Runner:
    return Runner(run_config(folder, backbone, **changes), device="cpu", resume=resume)


@pytest.mark.parametrize("kind", ["ViT", ViT])
def test_the_config_in_a_checkpoint_says_it_too(tmp_path: Path, kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", {**VIT, "type": kind}).train()
    file = tmp_path / "run" / "checkpoints" / "step_000000001.pth"
    same, other = BACKBONES.build(dict(VIT)), BACKBONES.build({**VIT, "num_heads": 6})
    load_backbone(file, same)
    start_from(file, supervised(same))
    six, method = {**VIT, "num_heads": 6}, supervised(other)
    for load in (
        lambda: load_backbone(file, other),
        lambda: TrainedWeights()(str(file), run(tmp_path / "taught", six).method),
        lambda: start_from(file, method),
        lambda: run(tmp_path / "next", six, load_from=str(file)).train(),  # the same method
        lambda: run(tmp_path / "run", six, steps=2, resume=True).train(),
    ):
        problem = rejection(load, file, method)
        assert problem.message == must_have("num_heads=3", "the config in it") and problem.got == "num_heads=6"
    config = run_config(tmp_path / "other", six) | {"evaluators": {"spread": {"type": "Spread"}}}
    (tmp_path / "other.py").write_text(dump_config(config))
    words = [str(tmp_path / "other.py"), str(tmp_path / "run")]
    out = tmp_path / "o.safetensors"
    for command in (["test", *words, "--device", "cpu"], ["export", *words, "--output", str(out)]):
        assert main(command) == 2
        assert f"step_000000001.pth: {must_have('num_heads=3', 'the config in it')}" in capsys.readouterr().err
    assert not out.exists()
    run(tmp_path / "run", {**VIT, "checkpoint_stages": (1,)}, steps=2, resume=True).train()


def test_moco_v3_s_networks_have_twelve_heads(tmp_path: Path) -> None:
    small, path = {**VIT, "num_heads": 12}, tmp_path / "vit.pth.tar"
    torch.save(official.moco_v3(BACKBONES.build(small), "head."), path)
    load_backbone(path, BACKBONES.build({**small, "position": "learned"}), "moco")
    model = BACKBONES.build(dict(VIT))
    for load in (
        lambda: load_backbone(path, model, "moco"),
        lambda: convert_file(path, tmp_path / "o.pth", architecture=VIT, source="moco"),
    ):
        assert rejection(load, path, model).message == must_have("num_heads=12", "source='moco'")
    assert not (tmp_path / "o.pth").exists()


@torch.no_grad()
def test_what_a_card_says_of_an_exported_layout_comes_before_the_source(timm: ModuleType, tmp_path: Path) -> None:
    vit, path = {**VIT, "pool": "mean"}, tmp_path / "w.pth"
    model = written(path, vit, format="timm")
    assert torch.equal(trained_backbone(path)(IMAGES), model(IMAGES))
    other = BACKBONES.build(dict(VIT))
    assert rejection(lambda: load_backbone(path, other, "timm"), path, other).message == must_have("pool='mean'")
    large = BACKBONES.build({"type": "BiTResNet", "depth": 50, "num_groups": 16})
    arrays, path = official.bit_npz(timm.create_model("resnetv2_50x1_bit", num_classes=5)), tmp_path / "x.npz"
    np.savez(path, **arrays)
    problem = rejection(lambda: load_backbone(path, large, "bit"), path, large)
    assert problem.message == must_have("num_groups=32", "source='bit'")


def bit_of_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of a BiT network as timm has them."""
    renamed = {}
    for name, tensor in state.items():
        stage, _, rest = name.removeprefix("layer").partition(".")
        rest = rest.replace("downsample.", "downsample.conv.")
        inside = f"stages.{int(stage) - 1}.blocks.{rest}" if stage.isdigit() else ""
        renamed[inside or name.replace("conv1", "stem.conv")] = tensor
    return renamed


@torch.no_grad()
def test_a_card_s_eps_and_groups_come_before_timm_s(tmp_path: Path) -> None:
    deep, path = written(tmp_path / "b.pth", BIT), tmp_path / "b.pth"
    card = json.loads((tmp_path / "b.json").read_text()) | {"format": "timm"}
    write_weights(bit_of_timm(deep.state_dict()), path, card)
    again: Any = trained_backbone(path)
    assert again.eps == 1e-10 and torch.equal(again(IMAGES), deep(IMAGES))
    (tmp_path / "b.json").unlink()
    write_weights(bit_of_timm(deep.state_dict()), path)
    problem = rejection(lambda: load_backbone(path, again, "timm"), path, again)
    assert problem.message == must_have("num_groups=32", "source='timm'")


@pytest.mark.parametrize(
    ("name", "arguments", "got"),
    [
        ("resnet10t", {"global_pool": "avg", "drop_path_rate": 0.1, "drop_rate": 0.2, "zero_init_last": False}, ""),
        ("resnet10t.c3_in1k", {}, ""),
        ("resnet10t", {"pretrained": False}, ""),
        ("resnet10t", {"global_pool": "max"}, "global_pool.pool_type='max'"),
        ("resnet10t", {"output_stride": 16}, "layer4.0.stride=1"),
        ("resnet10t", {"act_layer": "gelu"}, "conv1.2='GELU'"),
    ],
)
def test_networks_of_timm_are_compared_by_what_they_are_put_together_of(
    timm: ModuleType, tmp_path: Path, name: str, arguments: dict[str, Any], got: str
) -> None:
    path = tmp_path / "w.pth"
    written(path, {"type": "Timm", "name": "resnet10t"})
    model = BACKBONES.build({"type": "Timm", "name": name, "model_args": arguments})
    if got:
        assert got in rejection(lambda: load_backbone(path, model), path, model).got
    else:
        load_backbone(path, model)
