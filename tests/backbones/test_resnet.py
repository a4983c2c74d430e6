import pytest
import torch
import torchvision
from torch import nn

from selfsup.backbones import ResNet
from selfsup.errors import ConfigError
from selfsup.planning import multiply_adds
from selfsup.registry import BACKBONES
from tests.reference import record
from tests.reference.selective_kernel import stem_by_the_code, variables_by_the_code


def on_meta(**arguments: object) -> ResNet:
    with torch.device("meta"):
        return BACKBONES.build({"type": "ResNet", **arguments})


def without_classifier(reference: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in reference.state_dict().items() if not name.startswith("fc.")}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_state_dict_and_cost_are_torchvision_s_without_the_classifier(depth: int) -> None:
    with torch.device("meta"):
        reference = getattr(torchvision.models, f"resnet{depth}")()
    model = on_meta(depth=depth)
    expected = {name: tensor.shape for name, tensor in without_classifier(reference).items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == expected
    assert multiply_adds(model, 224) == multiply_adds(reference, 224) - 1000 * model.out_dim


@pytest.mark.parametrize("width", [1, 2, 4, 5])
def test_wide_networks_have_the_recorded_size(width: int) -> None:
    model = on_meta(depth=50, width=width)
    expected = record("params/ssl_r50")["expected"]["resnet50_trunk"][f"w{width}"]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model.out_dim == 2048 * width


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_features_and_maps_equal_torchvision_s(depth: int, training: bool) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models, f"resnet{depth}")().train(training)
    reference.fc = nn.Identity()
    model = ResNet(depth).train(training)
    model.load_state_dict(reference.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    expected_maps: list[torch.Tensor] = []
    for number in (1, 2, 3, 4):
        stage = reference.get_submodule(f"layer{number}")
        stage.register_forward_hook(lambda _module, _inputs, output: expected_maps.append(output))
    with torch.no_grad():
        expected = reference(images)
        features = model(images)
        maps = model.feature_maps(images)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(maps, expected_maps, rtol=1e-5, atol=1e-5)


def test_the_cifar_stem_keeps_the_resolution() -> None:
    model = ResNet(18, 0.25, stem="cifar").eval()
    with torch.no_grad():
        maps = model.feature_maps(torch.zeros(1, 3, 32, 32))
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4)]
    assert model.out_dim == 128


# Depth, width, selective kernels, millions of parameters in the README of google-research/simclr, which counts the
# running statistics of batch norm: without them 152x2+SK would be 353.
SIMCLR_V2 = [
    (50, 1, False, 24),
    (50, 1, True, 35),
    (50, 2, False, 94),
    (50, 2, True, 140),
    (101, 1, False, 43),
    (101, 1, True, 65),
    (101, 2, False, 170),
    (101, 2, True, 257),
    (152, 1, False, 58),
    (152, 1, True, 89),
    (152, 2, False, 233),
    (152, 2, True, 354),
    (152, 3, True, 795),
]


@pytest.mark.parametrize(("depth", "width", "selective_kernels", "millions"), SIMCLR_V2)
def test_the_networks_of_simclr_v2_have_the_published_sizes(
    depth: int, width: int, selective_kernels: bool, millions: int
) -> None:
    model = on_meta(depth=depth, width=width, selective_kernels=selective_kernels)
    trained = sum(parameter.numel() for parameter in model.parameters())
    moving = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    assert round((trained + moving) / 1e6) == millions
    assert model.out_dim == 2048 * width
    if selective_kernels:
        assert (trained, moving) == variables_by_the_code(depth, width)


def test_the_stem_of_selective_kernels_agrees_with_the_published_code() -> None:
    torch.manual_seed(0)
    model = ResNet(50, 1 / 16, selective_kernels=True).double()
    images = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    parameters = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    expected = torch.from_numpy(stem_by_the_code(images.numpy(), parameters))
    torch.testing.assert_close(
        model._run_stem(images), nn.functional.max_pool2d(expected, 3, stride=2, padding=1), rtol=1e-9, atol=1e-12
    )


def test_zero_init_residual_makes_every_block_start_as_its_shortcut() -> None:
    torch.manual_seed(0)
    for depth, selective_kernels in ((18, False), (50, False), (50, True)):
        model = ResNet(depth, 0.25, selective_kernels=selective_kernels, zero_init_residual=True)
        maps = torch.rand(2, model.layer2[1].conv1.in_channels, 8, 8)
        with torch.no_grad():
            assert torch.equal(model.layer2[1](maps), maps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 51}, r"depth: must be one of 18, 34, 50, 101, 152, got 51"),
        ({"depth": 18, "stem": "imagnet"}, "no stem is called 'imagnet'; did you mean 'imagenet'"),
        ({"depth": 18, "width": 0.001}, r"width: must leave at least one channel of 64, got 0.001"),
        ({"depth": 50, "width": 1 / 64, "selective_kernels": True}, r"width: must leave at least two channels"),
        ({"depth": 34, "selective_kernels": True}, r"selective_kernels: must be false for depths .* got depth=34"),
        ({"depth": 18, "checkpoint_stages": (5,)}, r"checkpoint_stages: must be among 1, 2, 3, 4, got 5"),
    ],
)
def test_bad_arguments_are_rejected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(**arguments)
