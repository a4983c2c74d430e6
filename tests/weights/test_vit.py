"""ViT's weights from timm, torchvision and MoCo v3, and back."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.export import counterpart
from selfsup.weights.load import load_backbone
from tests.weights import official
from tests.weights.networks import assert_relatively_close, randomized, rejected

SIZES = {"embed_dim": 48, "depth": 3, "num_heads": 4, "image_size": 32, "patch_size": 8}


def vit(**changes: Any) -> nn.Module:
    return BACKBONES.build({"type": "ViT", "position": "learned", **SIZES, **changes})


def of_timm(timm: ModuleType, *, num_heads: int = 4) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": num_heads}
    return randomized(timm.models.VisionTransformer(num_classes=5, **sizes))


def of_torchvision() -> nn.Module:
    return randomized(VisionTransformer(32, 8, 3, 4, 48, 4 * 48, num_classes=5))


@torch.no_grad()
def assert_same(model: nn.Module, reference: nn.Module, size: int = 32) -> None:
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    assert_relatively_close(model.eval()(images), reference.eval()(images))


def test_timm_s_vit(timm: ModuleType, tmp_path: Path) -> None:
    reference: Any = of_timm(timm)
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    model = vit()
    report = load_backbone(tmp_path / "x.pth", model, "timm")
    assert report.ignored == {"classifier": ("head.weight", "head.bias")}
    reference.reset_classifier(0)
    assert_same(model, reference)


def test_torchvision_s_vit_and_back(tmp_path: Path) -> None:
    reference: Any = of_torchvision()
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    model = vit()
    report = load_backbone(tmp_path / "x.pth", model, "torchvision")
    assert report.ignored == {"classifier": ("heads.head.weight", "heads.head.bias")}
    reference.heads = nn.Identity()
    assert_same(model, reference)
    weights, again, _ = counterpart(model, "torchvision")
    again.load_state_dict(weights, strict=True)
    assert_same(model, again)


def test_old_files_of_torchvision_call_the_linear_layers_otherwise(tmp_path: Path) -> None:
    reference = of_torchvision()
    state = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in reference.state_dict().items()
    }
    torch.save(state, tmp_path / "x.pth")
    load_backbone(tmp_path / "x.pth", vit(), "torchvision")


def test_moco_v3_s_vit(timm: ModuleType, tmp_path: Path) -> None:
    reference: Any = of_timm(timm, num_heads=12)
    torch.save(official.moco_v3(reference, "head."), tmp_path / "vit.pth.tar")
    model = vit(num_heads=12)
    report = load_backbone(tmp_path / "vit.pth.tar", model, "moco")
    assert sorted(report.ignored) == ["predictor", "projection head", "teacher"]
    reference.reset_classifier(0)
    assert_same(model, reference)


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_ours_load_into_timm_strictly(timm: ModuleType, pool: str) -> None:
    model = randomized(BACKBONES.build({"type": "ViT", "arch": "small", "position": "learned", "pool": pool}))
    weights, reference, _ = counterpart(model, "timm")
    reference.load_state_dict(weights, strict=True)
    assert_same(model, reference, size=224)


@pytest.mark.parametrize(
    ("library", "changes"),
    [("timm", {}), ("timm", {"embed_dim": 384, "depth": 12, "num_heads": 12}), ("torchvision", {"pool": "mean"})],
)
def test_a_vit_that_a_library_has_not_is_rejected(timm: ModuleType, library: str, changes: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = vit(**changes)
    with pytest.raises(CheckpointError, match=f"{library}: has no network like the ViT with"):
        counterpart(model, library)


def test_another_number_of_positions_is_explained(tmp_path: Path) -> None:
    message = rejected(of_torchvision().state_dict(), vit(image_size=64), tmp_path, "torchvision").message
    assert message.endswith("; 1 shape mismatch: pos_embed: (1, 17, 48), expected (1, 65, 48)")
