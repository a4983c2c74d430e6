from types import ModuleType

import pytest
from torch import nn

from selfsup.backbones import BiTResNet, RegNet, ResNet, Timm, ViT
from selfsup.backbones.stages import freeze_stages, stage_parts, tensor_stages
from selfsup.errors import ConfigError

REGNET = {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8}


def test_our_networks_consist_of_a_stem_four_stages_and_what_follows_the_last() -> None:
    assert stage_parts(RegNet(**REGNET)) == [["stem"], ["s1"], ["s2"], ["s3"], ["s4"]]
    assert stage_parts(ResNet(18, 0.125)) == [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    assert stage_parts(BiTResNet(14, 0.25, num_groups=8))[4] == ["layer4", "norm"]
    vit = stage_parts(ViT(embed_dim=16, depth=5, num_heads=2, image_size=64))
    assert vit[0] == ["cls_token", "pos_embed", "patch_embed"]
    assert vit[1:] == [["blocks.0"], ["blocks.1"], ["blocks.2"], ["blocks.3", "blocks.4", "norm"]]


def test_every_tensor_belongs_to_one_stage_of_timms_networks_too(timm: ModuleType) -> None:
    for name, args in (("resnet10t", {}), ("vit_tiny_patch16_224", {"depth": 4, "embed_dim": 16, "num_heads": 2})):
        network = Timm(name, model_args=args)
        stages = tensor_stages(network)
        assert list(stages) == list(network.state_dict())
        assert set(stages.values()) == {0, 1, 2, 3, 4}
        assert list(stages.values()) == sorted(stages.values())


def test_freezing_takes_the_gradients_of_the_first_stages_alone() -> None:
    network = RegNet(**REGNET)
    modules = freeze_stages(network, 1)
    assert modules == [network.stem, network.s1]
    trained = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {"s2", "s3", "s4"}


def test_unknown_stages_and_networks_without_any_are_rejected() -> None:
    with pytest.raises(ConfigError) as caught:
        freeze_stages(RegNet(**REGNET), 5)
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("frozen_stages", 5)
    with pytest.raises(ConfigError) as without:
        stage_parts(nn.Sequential(nn.Linear(2, 2)))
    assert without.value.problems[0].path == "backbone"
