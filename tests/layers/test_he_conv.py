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
