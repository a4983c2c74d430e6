"""A file of weights with its card gives the network back, and a card can name nothing but a backbone."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.save import export_backbone
from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import BACKBONES
from selfsup.weights import load_backbone, trained_backbone
from selfsup.weights.card import read_card
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path
from selfsup.weights.export import export
from tests.engine.tiny_run import BACKBONE as REGNET
from tests.engine.tiny_run import tiny_config, trained
from tests.weights.networks import card_of, written

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def describe(path: Path, backbone: Any) -> None:
    """Let the card beside a file of weights describe another network."""
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "backbone": backbone}))


def test_a_work_dir_gives_the_network_that_was_trained_there(tmp_path: Path) -> None:
    runner = trained(tiny_config(tmp_path, steps=2))
    by_hand = BACKBONES.build(runner.recipe.model["backbone"])
    assert load_backbone(tmp_path, by_hand).complete
    for backbone in (trained_backbone(tmp_path), trained_backbone(tmp_path / "backbone.safetensors"), by_hand.eval()):
        assert not backbone.training
        torch.testing.assert_close(backbone.state_dict(), runner.method.backbone.state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(backbone(IMAGES), runner.method.backbone.eval()(IMAGES))


@pytest.mark.parametrize("missing", [True, False])
def test_what_a_run_wrote_in_another_form_before_is_archived(
    missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = ("backbone.safetensors", "backbone.pth") if missing else ("backbone.pth", "backbone.safetensors")
    old = written(tmp_path / before, REGNET, step=1)
    torch.manual_seed(6)
    new = BACKBONES.build(REGNET)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing else name)
    card = json.loads((tmp_path / "backbone.json").read_text())
    assert export_backbone(new, tmp_path, {**card, "step": 2}) == tmp_path / after
    assert torch.equal(trained_backbone(tmp_path).stem.conv.weight, new.stem.conv.weight)
    assert not (tmp_path / before).exists()
    (aside,) = (tmp_path / "earlier").glob(f"*/{before}")
    assert torch.equal(trained_backbone(aside).stem.conv.weight, old.stem.conv.weight)
    assert read_card(aside)["step"] == 1  # type: ignore[index]


@torch.no_grad()
def test_an_export_under_another_library_s_names_is_read_back_also_where_it_was_copied_alone(tmp_path: Path) -> None:
    architecture, path = {"type": "ResNet", "depth": 18}, tmp_path / "tv.pth"
    backbone = BACKBONES.build(dict(architecture)).eval()
    export(backbone, card_of(architecture, backbone, size=64), path, format="torchvision")
    torch.testing.assert_close(trained_backbone(path)(IMAGES), backbone(IMAGES))
    path.with_suffix(".json").unlink()
    torch.testing.assert_close(trained_backbone(path)(IMAGES), backbone(IMAGES))


@pytest.mark.parametrize(
    "backbone, message",
    [
        ({"type": "os.system", "command": "true"}, "w.json: backbone.type: no backbone is called 'os.system'"),
        ({"type": "torch.nn.Linear", "in_features": 1, "out_features": 1}, "no backbone is called 'torch.nn.Linear'"),
        ({"type": "SimCLR"}, "no backbone is called 'SimCLR'"),
        ({"type": ["RegNet"]}, "w.json: backbone.type: must be a registered name, got ['RegNet']"),
        ({"arch": "y_8gf"}, "w.json: backbone.type: is missing"),
        ({**REGNET, "depht": 3}, "w.json: backbone.depht: is not an argument of RegNet"),
        ({**REGNET, "group_width": -8}, "w.json: backbone: "),
    ],
)
def test_a_card_can_name_registered_backbones_only(tmp_path: Path, backbone: Any, message: str) -> None:
    written(tmp_path / "w.safetensors", REGNET)
    describe(tmp_path / "w.safetensors", backbone)
    with pytest.raises(ConfigError, match=re.escape(message)):
        trained_backbone(tmp_path / "w.safetensors")


def test_a_card_does_not_say_where_else_weights_are_fetched(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    written(tmp_path / "w.pth", {"type": "Timm", "name": "resnet10t"})
    elsewhere = {"pretrained": True, "checkpoint_path": str(tmp_path / "other.pth"), "drop_rate": 0.1}
    describe(tmp_path / "w.pth", {"type": "Timm", "name": "resnet10t", "model_args": elsewhere})
    backbone = trained_backbone(tmp_path / "w.pth")  # opening other.pth would fail
    assert backbone.model.drop_rate == 0.1


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such file"):
        trained_backbone(tmp_path / "nowhere")
    Checkpoint(model={}).write(checkpoint_path(tmp_path, 7))
    with pytest.raises(CheckpointError, match="as the run has not come to its end; name a file of weights"):
        trained_backbone(tmp_path)
    written(tmp_path / "backbone.safetensors", REGNET, step=5)
    with pytest.raises(CheckpointError, match="is of step 5, and the run has come to step 7"):
        trained_backbone(tmp_path)
    assert trained_backbone(tmp_path / "backbone.safetensors").out_dim == 32
    (tmp_path / "backbone.json").unlink()
    assert trained_backbone(tmp_path / "backbone.safetensors").out_dim == 32  # the file has a card inside
    torch.save(BACKBONES.build(REGNET).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain\.json: backbone: no card says which network"):
        trained_backbone(tmp_path / "plain.pth")
