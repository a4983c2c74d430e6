import pytest
import torch
from torch import nn

from selfsup.necks import ProjectionNeck
from selfsup.registry import BACKBONES, NECKS
from tests.reference import record


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


_SIMCLR = dict(out_dim=128, bias=False, last_bn=True, last_bn_bias=False)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("simclr_v1_head_tf", dict(hidden_dims=(2048,), **_SIMCLR)),
        ("simclr_v2_head_tf_3layer", dict(hidden_dims=(2048, 2048), **_SIMCLR)),
        ("byol_projector_haiku", dict(hidden_dims=(4096,), out_dim=256, last_bias=False)),
        ("simsiam_projector", dict(hidden_dims=(2048, 2048), out_dim=2048, bias=False, last_bn=True,
                                   last_bn_weight=False, last_bn_bias=False)),
    ],
)  # fmt: skip
def test_heads_of_resnet50_have_the_official_number_of_parameters(name: str, arguments: dict) -> None:
    with torch.device("meta"):
        neck = NECKS.build(dict(type="ProjectionNeck", in_dim=2048, **arguments))
    assert _count(neck) == record("params/ssl_r50")["expected"][name]


def test_the_swav_head_of_resnet50_has_biased_layers_and_one_norm() -> None:
    with torch.device("meta"):
        neck = ProjectionNeck(2048, (2048,), 128)
    assert _count(neck) == record("params/ssl_r50")["expected"]["swav_r50"]["mlp"]
    assert [type(layer).__name__ for layer in neck.mlp] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_the_moco_v2_head_completes_its_encoder() -> None:
    expected = record("params/ssl_r50")["expected"]
    with torch.device("meta"):
        neck = ProjectionNeck(2048, (2048,), 128, bn=False)
    assert _count(neck) + expected["resnet50_trunk"]["w1"] == expected["mocov2_encoder"]


@pytest.mark.parametrize("arch, width", [("regnety_8gf", 2016), ("regnety_16gf", 3024), ("regnety_32gf", 3712),
                                         ("regnety_64gf", 4920), ("regnety_128gf", 7392),
                                         ("regnety_256gf_seer", 10444), ("regnety_10B_seer", 28280)])  # fmt: skip
def test_seer_heads_have_the_official_number_of_parameters_and_no_norm(arch: str, width: int) -> None:
    with torch.device("meta"):
        neck = ProjectionNeck(width, (8192, 8192), 256, bn=False)
        prototypes = NECKS.build(dict(type="Prototypes", num_prototypes=16_000), in_dim=neck.out_dim)
    expected = record("seer/head_params")["expected"][arch]
    assert (_count(neck), _count(prototypes)) == (expected["mlp"], expected["prototypes_16k"])
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in neck.modules())
    assert all(layer.bias is not None for layer in neck.modules() if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("arch, y", [("regnety_8gf", "y_8gf"), ("regnety_256gf_seer", "y_256gf")])
def test_seer_totals_are_the_published_ones(arch: str, y: str) -> None:
    expected = record("seer/head_params")["expected"][arch]
    with torch.device("meta"):
        trunk = BACKBONES.build(dict(type="RegNet", arch=y))
        neck = ProjectionNeck(trunk.out_dim, (8192, 8192), 256, bn=False)
    assert _count(trunk) + _count(neck) + expected["prototypes_16k"] == expected["total"]


def test_embeddings_get_unit_length_only_when_asked() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    neck = ProjectionNeck(4, (5,), 3, normalize=True)
    torch.testing.assert_close(neck(features).norm(dim=1), torch.ones(6))
    neck.normalize = False
    assert not torch.allclose(neck(features).norm(dim=1), torch.ones(6))


def test_a_frozen_bias_gets_no_gradient_and_changes_nothing_behind_batch_norm() -> None:
    torch.manual_seed(0)
    neck = ProjectionNeck(
        4, (5,), 3, bias=False, last_bias=True, last_bias_frozen=True,
        last_bn=True, last_bn_weight=False, last_bn_bias=False,
    ).double()  # fmt: skip
    frozen = [name for name, parameter in neck.named_parameters() if not parameter.requires_grad]
    assert frozen == ["mlp.3.bias"]
    features = torch.randn(6, 4, dtype=torch.float64)
    expected = neck(features)
    expected.square().sum().backward()
    assert neck.mlp[3].bias.grad is None
    with torch.no_grad():
        neck.mlp[3].bias.add_(7)
    torch.testing.assert_close(neck(features), expected)


@pytest.mark.parametrize("arch, y", [("regnety_32gf", "y_32gf"), ("regnety_64gf", "y_64gf"),
                                     ("regnety_128gf", "y_128gf"), ("regnety_256gf_seer", "y_256gf")])  # fmt: skip
def test_sizes_in_seer_s_readme_are_those_with_a_head_of_another_method(arch: str, y: str) -> None:
    expected = record("seer/readme_param_puzzle")["expected"][arch]
    with torch.device("meta"):
        trunk = BACKBONES.build(dict(type="RegNet", arch=y))
        neck = ProjectionNeck(trunk.out_dim, (trunk.out_dim,), 128, bn=False)
    assert _count(trunk) == expected["trunk"]
    assert _count(trunk) + _count(neck) == expected["trunk_plus_C_C_128_head"]
