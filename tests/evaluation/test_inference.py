"""Fast inference: what is folded, what is computed in half precision, and when it is not."""

import copy

import pytest
import torch
from torch import Tensor, nn

from selfsup.backbones import RegNet, ResNet, Timm
from selfsup.evaluation import Representation, representation
from selfsup.evaluation.extraction import inference
from selfsup.evaluation.extraction.inference import prepared
from tests.evaluation.pictures import SMALL, Blobs

CPU = torch.device("cpu")
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def with_statistics(network: nn.Module) -> nn.Module:
    """In eval mode, batch norms as after a training."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.rand(module.num_features, generator=generator) - 0.5)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return network.eval()


def batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class PreActivation(nn.Module):
    """The convolution's output is used beside its batch norm: folding would change it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return (maps + self.bn(maps)).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (ResNet(18, width=0.25), 0),
        (RegNet(depths=(1, 1, 1, 1), widths=(8, 16, 24, 32), group_width=8), 0),
        (Timm("regnetx_002"), 0),
        (PreActivation(), 1),
    ],
    ids=["resnet", "regnet", "timm", "pre-activation"],
)
def test_batch_norm_is_folded_where_it_leaves_the_features_as_they_are(network: nn.Module, left: int) -> None:
    network = with_statistics(network)
    before = copy.deepcopy(network.state_dict())
    found = prepared(network, lambda part, some: [part(IMAGES[some])], "fp32", CPU)
    assert batch_norms(found.network) == left
    with torch.no_grad():
        torch.testing.assert_close(found.network(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Delicate(nn.Module):
    """Tells images apart by what half precision rounds away."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3, 8)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(images.mean((2, 3)) * 1e-4 + 1)


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (inference, representation):
        monkeypatch.setattr(module, "fast_everywhere", lambda _: "bf16")
    monkeypatch.setattr(representation, "fast_precision", lambda _: "bf16")


def test_the_fast_precision_is_used_where_its_features_agree_and_said_where_they_do_not(bf16: None) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    good = Representation(ResNet(18, width=0.25), SMALL.replace(mean=(0.4,) * 3), log=said.append)
    exact = Representation(good.backbone, good.input_contract, precision="fp32")
    found, expected = (each.features(Blobs(12)).features for each in (good, exact))
    assert (good.precision, exact.precision, said) == ("bf16", "fp32", [])
    assert (found - expected).abs().max() > 0
    assert nn.functional.cosine_similarity(found, expected).min() > 0.999
    bad = Representation(Delicate(), SMALL, log=said.append)
    assert bad.settle(Blobs(12)) == "fp32"
    assert "bf16" in said[0] and len(said) == 1
    expected = Representation(bad.backbone, SMALL, precision="fp32").features(Blobs(12)).features
    assert torch.equal(bad.features(Blobs(12)).features, expected)


def test_what_was_decided_is_found_again_and_part_of_what_determines_files(bf16: None, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = ResNet(18, width=0.25)
    first = Representation(network, SMALL, cache=tmp_path).features(Blobs(12)).features

    class Unused(Representation):
        def __call__(self, images: Tensor) -> Tensor:
            raise AssertionError

        def _compute(self, *_: object) -> list[Tensor]:
            raise AssertionError

    again = Unused(network, SMALL, cache=tmp_path)
    assert torch.equal(again.features(Blobs(12)).features, first)
    assert again.precision == "bf16"
