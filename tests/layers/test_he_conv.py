import pytest
import torch

from selfsup.layers import HeConv2d


@pytest.mark.parametrize("groups", [1, 4])
def test_a_strided_convolution_of_one_pixel_has_its_gradient_in_bf16_too(groups: int) -> None:
    torch.manual_seed(0)
    conv = HeConv2d(32, 32, 3, stride=2, padding=1, groups=groups, bias=False).to(memory_format=torch.channels_last)
    images = torch.randn(8, 32, 1, 1).contiguous(memory_format=torch.channels_last)
    plain = torch.nn.functional.conv2d(images, conv.weight, stride=2, padding=1, groups=groups)
    torch.testing.assert_close(conv(images), plain)
    (expected,) = torch.autograd.grad(plain.square().mean(), [conv.weight])
    for count in range(1, 80):
        torch.full((1000 * count + 7,), float("nan"))  # what memory holds before the gradient is written to it
    with torch.autocast("cpu", torch.bfloat16):
        output = conv(images)
    (actual,) = torch.autograd.grad(output.float().square().mean(), [conv.weight])
    assert (actual - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_convolution_of_one_pixel_kernels_is_the_same_as_a_product(precision: str) -> None:
    torch.manual_seed(0)
    conv = HeConv2d(512, 520, 1).to(memory_format=torch.channels_last)
    maps = torch.randn(3, 512, 5, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(3, 520, 5, 4)
    assert conv._is_faster_as_product(maps)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        actual = conv(maps)
        expected = torch.nn.functional.conv2d(maps, conv.weight, conv.bias)
    assert actual.is_contiguous(memory_format=torch.channels_last) and actual.dtype == expected.dtype
    for output in (actual, expected):
        inputs = [maps, conv.weight, conv.bias]
        found = torch.autograd.grad((output * weights).sum(), inputs)  # type: ignore[arg-type]
        if output is actual:
            gradients = found
    for one, other in zip((actual, *gradients), (expected, *found), strict=True):
        assert (one - other).norm() <= 1e-3 * other.norm()
