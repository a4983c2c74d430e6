import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from selfsup.backbones import RegNet, ResNet, Timm, ViT
from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES


def test_it_is_registered_and_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    assert "Timm" in BACKBONES.names()
    with pytest.raises(ConfigError, match=r"needs the package timm; pip install 'selfsup\[timm\]'"):
        BACKBONES.build(dict(type="Timm", name="resnet18"))


@pytest.mark.parametrize(
    ("name", "model_args", "ours"),
    [
        ("regnety_004", {}, RegNet("y_400mf")),
        ("resnet18", {}, ResNet(18)),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, ViT("tiny", depth=2, image_size=64, position="learned")),
    ],
    ids=["regnet", "resnet", "vit"],
)
def test_maps_are_those_of_our_own_network(
    timm: ModuleType, name: str, model_args: dict[str, Any], ours: torch.nn.Module
) -> None:
    torch.manual_seed(0)
    model = Timm(name, model_args=model_args).eval()
    ours.load_state_dict(model.model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps, expected = model.feature_maps(images), ours.eval().feature_maps(images)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


def test_the_last_map_of_a_pre_activation_network_has_passed_its_final_norm(timm: ModuleType) -> None:
    torch.manual_seed(0)
    model = Timm("resnetv2_50x1_bit").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps, features = model.feature_maps(images), model(images)
    assert [each.shape[1] for each in maps] == [256, 512, 1024, 2048]
    torch.testing.assert_close(maps[-1].mean((2, 3)), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch_size", [14, 16])
def test_a_network_of_one_resolution_gives_its_last_map_at_every_stride(timm: ModuleType, patch_size: int) -> None:
    torch.manual_seed(0)
    size = 4 * patch_size
    model = Timm("vit_tiny_patch16_224", model_args=dict(img_size=size, patch_size=patch_size, depth=2)).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        maps = model.feature_maps(images)
        last = model.model.forward_intermediates(images, norm=True, intermediates_only=True)[-1]
    assert [tuple(each.shape[2:]) for each in maps] == [(patch_size,) * 2, (-(-size // 8),) * 2, (4, 4), (2, 2)]
    assert torch.equal(maps[2], last)
    torch.testing.assert_close(maps[3], torch.nn.functional.avg_pool2d(last, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet51"}, r"name: timm has no network called 'resnet51'; did you mean 'resnet\w+'\?"),
        ({"name": "resnet18", "model_args": {"num_classes": 10}}, r"model_args\.num_classes: a backbone has no"),
        ({"name": "resnet18.no_such_tag"}, "resnet18.no_such_tag cannot be built .*Invalid pretrained tag"),
        ({"name": "resnet18", "checkpoint_stages": (5,)}, r"checkpoint_stages: must be among 1, 2, 3, 4, got 5"),
    ],
)
def test_bad_arguments_are_rejected(timm: ModuleType, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BACKBONES.build({"type": "Timm", **arguments})


@pytest.mark.parametrize(
    ("name", "model_args", "size", "said"),
    [
        (
            "vit_tiny_patch16_224",
            dict(img_size=32, depth=1),
            (48, 64),
            "does not take images of 48 x 64: Input height (48) doesn't match model (32) "
            "(often model_args=dict(dynamic_img_size=True) lets it)",
        ),
        ("halonet26t", {}, (80, 112), "cannot run on images of 80 x 112: timm gives no reason"),
    ],
)
def test_a_size_that_the_network_rejects_is_named_with_the_remedy_it_has(
    timm: ModuleType, name: str, model_args: dict[str, Any], size: tuple[int, int], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Timm(name, model_args=model_args)(torch.zeros(1, 3, *size))
    assert str(caught.value) == f"{name} {said}"


def test_the_maps_of_a_network_whose_head_normalizes_are_what_it_pools(timm: ModuleType) -> None:
    name, size = "hiera_tiny_224", 224
    torch.manual_seed(0)
    model = Timm(name).eval()
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        maps, features = model.feature_maps(images), model(images)
        assert [each.shape[2] for each in maps] == [size // 4, size // 8, size // 16, size // 32]
        torch.testing.assert_close(model.model.head.norm(maps[-1].mean((2, 3))), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "model_args", "stages", "blocks"),
    [
        ("resnet18", {}, (2,), ["layer2.0", "layer2.1"]),
        ("regnety_002", {}, (1, 3), ["s1.b1", "s3.b1", "s3.b2", "s3.b3", "s3.b4"]),
        ("efficientnet_b0", {}, (1,), ["blocks.0.0", "blocks.1.0", "blocks.1.1", "blocks.2.0"]),  # 7 stages, 16 blocks
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 8}, (2,), ["blocks.2", "blocks.3"]),
        ("densenet121", {}, (4,), ["features.transition3", "features.denseblock4"]),  # the last two of seven parts
    ],
)
def test_the_blocks_of_the_chosen_stages_run_again_and_no_others(
    timm: ModuleType, name: str, model_args: dict[str, Any], stages: tuple[int, ...], blocks: list[str]
) -> None:
    model = Timm(name, model_args=model_args, checkpoint_stages=stages)
    calls = dict.fromkeys((part for part, _ in model.model.named_modules()), 0)
    for part, module in model.model.named_modules():
        module.register_forward_pre_hook(lambda _, inputs, part=part: calls.update({part: calls[part] + 1}))
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    again = [part for part, count in calls.items() if count == 2]
    assert max(calls.values()) == 2
    assert [block for block in blocks if not any(part.startswith(f"{block}.") for part in again)] == []
    assert [part for part in again if not part.startswith(tuple(f"{block}." for block in blocks))] == []


def trained(model: Timm) -> dict[str, torch.Tensor]:
    """State and gradients after one step on features and maps, with dropped paths where the network has them."""
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 64)
    loss = model(images).cos().sum() + sum(each.pow(2).mean() for each in model.feature_maps(images))
    loss.backward()
    found = {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return model.state_dict() | {name: tensor for name, tensor in found.items() if tensor is not None}


@pytest.mark.parametrize(
    ("name", "model_args"),
    [
        ("regnety_002", {"drop_path_rate": 0.5}),
        ("hrnet_w18_small", {}),  # whose blocks take lists and write to them
        ("densenet121", {}),  # whose blocks stand in no row
        ("coat_lite_tiny", {"img_size": 64}),  # whose blocks share parts
        ("vgg11_bn", {"mlp_ratio": 0.01}),  # one row of layers, some of which write to their input
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 4, "drop_path_rate": 0.5}),
    ],
)
def test_checkpointing_changes_no_gradient_and_no_statistic(
    timm: ModuleType, name: str, model_args: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    plain = Timm(name, model_args=model_args)
    checkpointed = Timm(name, model_args=model_args, checkpoint_stages=(1, 2, 3, 4))
    checkpointed.load_state_dict(plain.state_dict())
    torch.testing.assert_close(dict(trained(checkpointed)), dict(trained(plain)), rtol=0, atol=0)
