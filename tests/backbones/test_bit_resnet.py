from types import ModuleType

import pytest
import torch
from torch import nn

from selfsup.backbones import BiTResNet
from selfsup.errors import ConfigError
from selfsup.layers import StdConv2d
from selfsup.registry import BACKBONES
from selfsup.weights.translate import find_weights
from tests.reference import record


def on_meta(**arguments: object) -> BiTResNet:
    with torch.device("meta"):
        return BACKBONES.build({"type": "BiTResNet", **arguments})


def tiny(**arguments: object) -> BiTResNet:
    return BiTResNet(14, 0.25, **{"num_groups": 8, **arguments})


@pytest.mark.parametrize("name", ["R50x1", "R50x3", "R101x1", "R101x3", "R152x2", "R152x4"])
def test_the_paper_s_models_have_the_recorded_size(name: str) -> None:
    depth, width = map(int, name[1:].split("x"))
    expected = record("bit/params")["expected"][name]
    model = on_meta(depth=depth, width=width)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == expected["no_head"]
    assert parameters + 1000 * (model.out_dim + 1) == expected["head1000"]
    assert parameters + 21_843 * (model.out_dim + 1) == expected["head21843"]


def test_features_and_maps_equal_timm_s(timm: ModuleType) -> None:
    torch.manual_seed(0)
    reference = timm.create_model("resnetv2_50x1_bit", num_classes=0).double()
    for module in reference.modules():
        if type(module).__name__ == "StdConv2d":
            assert module.eps == 1e-8  # timm's BiT models deviate from the published code
            module.eps = 1e-10
    for parameter in reference.norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    model = BiTResNet(50).double()
    weights, _ = find_weights(reference.state_dict(), model, source="timm", file="x", adapting=True)
    model.set_eps(1e-10)
    model.load_state_dict({name: tensor.double() for name, tensor in weights.items()}, strict=True)
    images = torch.randn(2, 3, 96, 80, dtype=torch.float64)
    with torch.no_grad():
        expected_maps = reference.forward_intermediates(images, norm=True, intermediates_only=True)[1:]
        maps = model.feature_maps(images)
        torch.testing.assert_close(model(images), reference(images), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(maps, expected_maps, rtol=1e-7, atol=1e-7)


def test_eps_reaches_every_convolution_and_is_bit_s_by_default() -> None:
    for arguments, eps in (({}, 1e-10), ({"eps": 1e-8}, 1e-8)):
        convolutions = [module for module in on_meta(depth=50, **arguments).modules() if isinstance(module, nn.Conv2d)]
        assert len(convolutions) == 1 + 16 * 3 + 4
        assert all(isinstance(conv, StdConv2d) and conv.eps == eps for conv in convolutions)


def test_group_norm_gives_the_recorded_values() -> None:
    expected = record("bit/groupnorm")
    norm = BiTResNet(14, 1 / 16, num_groups=expected["input"]["groups"]).layer1[0].norm1.double()
    actual = norm(torch.tensor(expected["input"]["x"], dtype=torch.float64)).detach()
    recorded = torch.tensor(expected["expected"], dtype=torch.float64)
    torch.testing.assert_close(actual, recorded, rtol=0, atol=expected["tol"])


def test_the_root_s_pooling_is_padded_with_zeros() -> None:
    expected = record("bit/root_pool")
    model = tiny()
    model.conv1 = nn.Identity()
    pooled = model._run_stem(torch.tensor(expected["input"]["x"]))
    assert pooled.item() == expected["expected"]["bit"] != expected["expected"]["torch_padding"]


@torch.no_grad()
def test_a_block_adds_to_its_raw_input_and_one_that_changes_shape_to_what_its_first_norm_gives() -> None:
    torch.manual_seed(0)
    changing, constant = BiTResNet(26, 0.25, num_groups=8).layer2
    strides = [part.stride for part in (changing.conv1, changing.conv2, changing.downsample)]
    assert strides == [(1, 1), (2, 2), (2, 2)] and constant.downsample is None
    for block in (changing, constant):
        block.norm3.weight.zero_()
        block.norm3.bias.zero_()
    maps = torch.randn(2, changing.conv1.in_channels, 8, 8)
    torch.testing.assert_close(changing(maps), changing.downsample(changing.norm1(maps).relu()))
    maps = torch.randn(2, constant.conv1.in_channels, 8, 8)
    assert torch.equal(constant(maps), maps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 51}, r"depth: must be one of 14, 26, 50, 101, 152, got 51"),
        ({"depth": 50, "stem": "cifra"}, r"stem: no stem is called 'cifra'; did you mean 'cifar'\?"),
        ({"depth": 50, "width": 0.25}, r"num_groups must divide the 16 channels of width=0\.25, got 32"),
        ({"depth": 50, "eps": 0.0}, r"eps: must be > 0, got 0.0"),
        ({"depth": 50, "checkpoint_stages": (5,)}, r"checkpoint_stages: must be among 1, 2, 3, 4, got 5"),
    ],
)
def test_bad_arguments_are_rejected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(**arguments)
