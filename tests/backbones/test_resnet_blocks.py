import numpy as np
import pytest
import torch

from selfsup.backbones.resnet_blocks import SelectiveKernelBottleneck, ShortcutPool
from tests.reference.selective_kernel import bottleneck_by_the_code, shortcut_pool_by_the_code


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_shortcut_s_pooling_agrees_with_the_published_code(
    stride: int, size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    maps = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pooled = ShortcutPool(stride)(maps.contiguous(memory_format=memory_format))
    assert pooled.is_contiguous(memory_format=memory_format)
    np.testing.assert_allclose(pooled.numpy(), shortcut_pool_by_the_code(maps.numpy(), stride), rtol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_bottleneck_with_selective_kernels_agrees_with_the_published_code(stride: int) -> None:
    torch.manual_seed(0)
    block = SelectiveKernelBottleneck(4, 2, stride=stride).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    maps = torch.randn(3, 4, 6, 5, dtype=torch.float64)
    parameters = {name: parameter.detach().numpy() for name, parameter in block.named_parameters()}
    expected = bottleneck_by_the_code(maps.numpy(), parameters, stride)
    np.testing.assert_allclose(block(maps).detach().numpy(), expected, rtol=1e-9, atol=1e-12)
