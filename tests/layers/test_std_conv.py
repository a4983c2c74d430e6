import numpy as np
import pytest
import torch
from torch.nn import functional as F

from selfsup.layers import StdConv2d
from tests.reference import record


def with_kernel(kernel: object, eps: float) -> StdConv2d:
    weight = torch.tensor(kernel, dtype=torch.float64)
    conv = StdConv2d(weight.shape[1], weight.shape[0], kernel_size=weight.shape[2], eps=eps).double()
    with torch.no_grad():
        conv.weight.copy_(weight)
    return conv


@pytest.mark.parametrize(("name", "eps"), [("bit_1e10", 1e-10), ("timm_bit_1e8", 1e-8), ("timm_default_1e6", 1e-6)])
def test_kernels_are_standardized_as_recorded(name: str, eps: float) -> None:
    expected = record("bit/weight_standardisation")
    conv = with_kernel(expected["input"]["kernel"], eps)
    actual = conv.standardized_weight().detach().numpy()
    np.testing.assert_allclose(actual, expected["expected"][name], rtol=0, atol=expected["tol"])
    # the paper's first code: the unbiased deviation, and 1e-5 added to it instead of to the variance
    assert np.abs(actual - expected["expected"]["original_ws_unbiased_std_plus_1e5"]).max() > 0.1


def test_it_convolves_with_the_standardized_kernel_and_the_bias_as_it_is() -> None:
    torch.manual_seed(0)
    conv = StdConv2d(3, 5, kernel_size=3, stride=2, padding=1, bias=True)
    images = torch.randn(2, 3, 9, 8)
    with torch.no_grad():
        kernels = [(kernel - kernel.mean()) / (kernel.var(correction=0) + 1e-10).sqrt() for kernel in conv.weight]
        expected = F.conv2d(images, torch.stack(kernels), conv.bias, stride=2, padding=1)
        torch.testing.assert_close(conv(images), expected)


def test_scale_and_shift_of_a_kernel_do_not_matter() -> None:
    torch.manual_seed(0)
    conv = StdConv2d(4, 6, kernel_size=3)
    images = torch.randn(2, 4, 7, 7)
    with torch.no_grad():
        expected = conv(images)
        conv.weight.mul_(torch.rand(6, 1, 1, 1) + 1).add_(torch.randn(6, 1, 1, 1))
        torch.testing.assert_close(conv(images), expected, rtol=1e-4, atol=1e-5)
