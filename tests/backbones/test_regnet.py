from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.backbones import RegNet
from selfsup.backbones.regnet_params import RegNetParams
from selfsup.backbones.regnet_variants import VARIANTS
from selfsup.errors import ConfigError
from selfsup.layers.squeeze_excite import SqueezeExcite
from selfsup.planning import multiply_adds
from selfsup.registry import BACKBONES
from tests.reference import record

RECORDS = {
    "y_400mf": "regnety_400mf",
    "y_800mf": "regnety_800mf",
    "y_1_6gf": "regnety_1.6gf",
    "y_3_2gf": "regnety_3.2gf",
    "y_8gf": "regnety_8gf",
    "y_16gf": "regnety_16gf",
    "y_32gf": "regnety_32gf",
    "y_64gf": "regnety_64gf",
    "y_128gf": "regnety_128gf",
    "y_256gf": "regnety_256gf_seer",
    "y_10b": "regnety_10B_seer",
}
TIMM_NAMES = {"y_400mf": "regnety_004", "y_1_6gf": "regnety_016", "y_4gf": "regnety_040"}


def on_meta(**arguments: object) -> RegNet:
    with torch.device("meta"):
        return BACKBONES.build({"type": "RegNet", **arguments})


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def check_against_record(model: RegNet, name: str) -> None:
    expected = record(f"regnet/{name}")["expected"]
    rule = RegNetParams(**{**record(f"regnet/{name}")["input"], "group_width": 1})  # any width is a multiple of 1
    assert list(rule.stages().widths) == expected["raw_widths"]
    assert list(model.widths) == expected["widths"]
    assert list(model.depths) == expected["depths"]
    assert list(model.group_widths) == expected["group_widths"]
    assert count(model) == expected["trunk_params"]
    assert count(model) + 1000 * (model.out_dim + 1) == expected["params_fc1000"]
    assert [count(model.get_submodule(f"s{number}")) for number in (1, 2, 3, 4)] == expected["stage_params"]
    assert multiply_adds(model, 224) == expected["macs_224"]


@pytest.mark.parametrize("arch", RECORDS)
def test_a_named_model_is_the_paper_s(arch: str) -> None:
    check_against_record(on_meta(arch=arch), RECORDS[arch])
    assert VARIANTS[arch] == RegNetParams(**record(f"regnet/{RECORDS[arch]}")["input"])


def test_the_five_numbers_of_a_model_without_a_name_give_its_record() -> None:
    numbers = record("regnet/regnety_256gf_classyvision")["input"]
    check_against_record(on_meta(**numbers), "regnety_256gf_classyvision")


def test_every_named_model_without_a_record_has_timm_s_parameter_count(timm: ModuleType) -> None:
    assert set(VARIANTS) - set(RECORDS) == {"y_4gf"}
    assert count(on_meta(arch="y_4gf")) == count(timm.create_model("regnety_040", num_classes=0))


def test_the_width_rule_agrees_with_a_loop_over_the_blocks() -> None:
    for params in VARIANTS.values():
        widths = []
        for block in range(params.depth):
            power = np.round(np.log((params.w_0 + params.w_a * block) / params.w_0) / np.log(params.w_m))
            width = int(8 * np.round(params.w_0 * params.w_m**power / 8))
            group = min(params.group_width, width)
            widths.append(group * round(width / group))
        stages = params.stages()
        assert widths == [w for w, depth in zip(stages.widths, stages.depths, strict=True) for _ in range(depth)]


def test_squeeze_excite_is_sized_by_the_width_of_the_block_s_input() -> None:
    model = on_meta(arch="y_128gf")
    widths = [part.fc1.out_channels for part in model.modules() if isinstance(part, SqueezeExcite)]
    assert widths == record("regnet/se_width_128gf")["expected"]
    trap = record("regnet/se_width_trap")["expected"]
    assert count(model) == trap["right"] != trap["wrong"]


def test_feature_maps_have_the_recorded_sizes() -> None:
    model = on_meta(arch="y_400mf").eval()
    for size, sides in record("regnet/feature_hw")["expected"].items():
        maps = model.feature_maps(torch.empty(1, 3, int(size), int(size), device="meta"))
        assert [tuple(each.shape) for each in maps] == [
            (1, width, side, side) for width, side in zip(model.widths, sides, strict=True)
        ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arch", ["y_400mf", "y_1_6gf"])
def test_features_and_maps_equal_timm_s(timm: ModuleType, arch: str, training: bool) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(TIMM_NAMES[arch], num_classes=0).train(training)
    for buffer in reference.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    model = RegNet(arch).train(training)
    model.load_state_dict(reference.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = model.feature_maps(images)
        model.load_state_dict(reference.state_dict())
        features = model(images)
        expected_map = reference.forward_features(images)
    torch.testing.assert_close(maps[-1], expected_map, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features, expected_map.mean((2, 3)), rtol=1e-4, atol=1e-4)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, reference.get_buffer(name), rtol=1e-4, atol=1e-4)


def test_without_squeeze_excite_only_its_parameters_are_gone() -> None:
    torch.manual_seed(0)
    with_se = on_meta(arch="y_400mf")
    without = on_meta(arch="y_400mf", se_ratio=None)
    assert set(without.state_dict()) == {name for name in with_se.state_dict() if ".se." not in name}


def test_weights_are_drawn_from_the_recipe_s_distribution() -> None:
    torch.manual_seed(0)
    model = RegNet(depths=(1, 1, 1, 1), widths=(64, 128, 256, 512), group_width=16, stem_width=64)
    for conv in (model.stem.conv, model.s4.b1.conv1.conv, model.s4.b1.conv2.conv):
        area = conv.kernel_size[0] ** 2
        expected = (2.0 / (area * conv.out_channels)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert abs(conv.weight.mean().item()) < 0.1 * expected
    assert all(
        (bn.weight == 1).all() and (bn.bias == 0).all() for bn in model.modules() if isinstance(bn, nn.BatchNorm2d)
    )


def test_rule_rounds_half_to_even() -> None:
    assert RegNetParams(depth=1, w_0=20, w_a=0, w_m=2, group_width=8).stages().widths == (16,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "y_265gf"}, r"arch: no architecture is called 'y_265gf'; did you mean 'y_256gf'\?"),
        ({"arch": "y_8gf", "depth": 17}, "arch='y_8gf' says everything; remove depth"),
        ({}, "give arch, or depth, w_0, w_a, w_m and group_width, or depths, widths and group_width; got none"),
        ({"depth": 17, "w_0": 192}, "got depth, w_0"),
        ({"depth": 2, "w_0": 8, "w_a": 0.1, "w_m": 2.0, "group_width": 8}, "the rule gives 1 stages"),
        (
            {"depths": (1, 1, 1, 1), "widths": (8, 20, 32, 64), "group_width": 8},
            r"that fit are \(8, 16, 32, 64\)",
        ),
        ({"depths": (1, 1, 1), "widths": (8, 16, 32), "group_width": 8}, "four positive numbers each"),
        ({"arch": "y_8gf", "checkpoint_stages": (0,)}, r"checkpoint_stages: must be among 1, 2, 3, 4, got 0"),
    ],
)
def test_arguments_that_do_not_describe_a_network_are_rejected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(**arguments)
