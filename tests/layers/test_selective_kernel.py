import numpy as np
import pytest
import torch

from selfsup.layers import SelectiveKernelConv2d
from tests.reference.selective_kernel import selective_kernel_by_the_code


@pytest.mark.parametrize("stride", [1, 2])
def test_it_agrees_with_the_published_code(stride: int) -> None:
    torch.manual_seed(0)
    layer = SelectiveKernelConv2d(3, 4, stride=stride).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    maps = torch.randn(3, 3, 6, 5, dtype=torch.float64)
    parameters = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    expected = selective_kernel_by_the_code(maps.numpy(), parameters, stride)
    np.testing.assert_allclose(layer(maps).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("channels", "mixing"), [(64, 32), (512, 32), (1024, 64), (2048, 128)])
def test_the_mixing_layers_are_never_narrower_than_32(channels: int, mixing: int) -> None:
    with torch.device("meta"):
        layer = SelectiveKernelConv2d(8, channels)
    assert layer.mix1.out_channels == layer.mix2.in_channels == mixing


def test_equal_branches_are_mixed_to_themselves() -> None:
    torch.manual_seed(0)
    layer = SelectiveKernelConv2d(3, 4).eval()
    with torch.no_grad():
        layer.conv.weight[4:] = layer.conv.weight[:4]
        maps = torch.randn(2, 3, 6, 6)
        branch = layer.bn(layer.conv(maps))[:, :4].relu()
        torch.testing.assert_close(layer(maps), branch)
