import sys
from types import ModuleType

import pytest
import torch

from selfsup.backbones import RegNet, ResNet, Timm
from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES


def test_it_is_registered_and_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    assert "Timm" in BACKBONES.names()
    with pytest.raises(ConfigError, match=r"Timm: needs the package timm; pip install 'selfsup\[timm\]'"):
        BACKBONES.build(dict(type="Timm", name="resnet18"))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
def test_features_are_what_timm_s_classifier_sees(timm: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    model = Timm(name).eval()
    reference = timm.create_model(name).eval()
    missing = reference.load_state_dict(model.model.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = model(images)
        expected = reference.forward_head(reference.forward_features(images), pre_logits=True)
    assert features.shape == (2, model.out_dim) and reference.get_classifier().in_features == model.out_dim
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("regnety_004", RegNet("y_400mf")), ("resnet18", ResNet(18))],
    ids=["regnet", "resnet"],
)
def test_maps_are_those_of_our_own_network(timm: ModuleType, name: str, ours: torch.nn.Module) -> None:
    torch.manual_seed(0)
    model = Timm(name).eval()
    ours.load_state_dict(model.model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for actual, expected in zip(model.feature_maps(images), ours.eval().feature_maps(images), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_last_map_of_a_pre_activation_network_has_passed_its_final_norm(timm: ModuleType) -> None:
    torch.manual_seed(0)
    model = Timm("resnetv2_50x1_bit").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps, features = model.feature_maps(images), model(images)
    assert [each.shape[1] for each in maps] == [256, 512, 1024, 2048]
    torch.testing.assert_close(maps[-1].mean((2, 3)), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_maps_have_the_strides_of_a_detector_whatever_the_network(timm: ModuleType, name: str) -> None:
    model = Timm(name).eval()
    with torch.no_grad():
        maps = model.feature_maps(torch.randn(1, 3, 224, 224))
    assert [tuple(each.shape[2:]) for each in maps] == [(56, 56), (28, 28), (14, 14), (7, 7)]


def test_a_network_of_one_resolution_has_no_maps(timm: ModuleType) -> None:
    model = Timm("vit_tiny_patch16_224", model_args=dict(img_size=32, depth=1))
    with pytest.raises(ConfigError, match=r"must have maps at strides 4, 8, 16 and 32, got \[16\] from vit_tiny"):
        model.feature_maps(torch.zeros(1, 3, 32, 32))


def test_a_network_whose_maps_timm_does_not_give_says_so(timm: ModuleType) -> None:
    model = Timm("resnet10t")
    model.model = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r"Timm\.feature_maps: timm does not give the maps of resnet10t"):
        model.feature_maps(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet51"}, r"Timm\.name: timm has no network called 'resnet51'; did you mean 'resnet\w+'\?"),
        ({"name": "resnet18", "model_args": {"num_classes": 10}}, r"Timm\.model_args\.num_classes: a backbone has no"),
        ({"name": "resnet18", "model_args": {"depht": 3}}, r"Timm: resnet18 cannot be built .*unexpected keyword"),
        ({"name": "resnet18.no_such_tag"}, "Timm: resnet18.no_such_tag cannot be built .*Invalid pretrained tag"),
    ],
)
def test_bad_arguments_are_refused(timm: ModuleType, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BACKBONES.build({"type": "Timm", **arguments})


def test_a_size_that_the_network_refuses_is_named_with_the_remedy(timm: ModuleType) -> None:
    arguments = dict(img_size=32, depth=1)
    with pytest.raises(ConfigError, match=r"Timm: vit_tiny_patch16_224 does not take images of 48 x 64: .*dynamic_img"):
        Timm("vit_tiny_patch16_224", model_args=arguments)(torch.zeros(1, 3, 48, 64))
    model = Timm("vit_tiny_patch16_224", model_args={**arguments, "dynamic_img_size": True})
    assert model(torch.zeros(1, 3, 48, 64)).shape == (1, 192)


def test_a_network_that_does_not_pool_is_refused_when_it_runs(timm: ModuleType) -> None:
    model = Timm("resnet10t", model_args=dict(global_pool=""))
    with pytest.raises(
        ConfigError, match=r"Timm: resnet10t must give features of shape \(1, 512\), got \(1, 512, 2, 2\)"
    ):
        model(torch.zeros(1, 3, 64, 64))
