"""The convolution of the residual networks: drawn once, from the distribution their papers use."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGE = 1 << 18
"""Weights from which on a 1x1 convolution in float32 is faster as a matrix product."""


class HeConv2d(nn.Conv2d):
    """Convolution whose weights are drawn from N(0, 2 / (kernel area * out channels)).

    PyTorch's own initialisation would be drawn first and thrown away, which doubles the time it takes to build a
    network with a billion parameters. The channel groups do not enter the variance; a bias keeps PyTorch's uniform
    initialisation. On processors a 1x1 convolution is computed as the matrix product that it is, where that is faster.

    Source: He et al. 2015, arXiv:1502.01852, section 2.2, fan-out form, as used by pycls, ClassyVision and torchvision.
    """

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights and bias anew."""
        kernel_area = self.kernel_size[0] * self.kernel_size[1]
        self.weight.normal_(0.0, math.sqrt(2.0 / (kernel_area * self.out_channels)))
        if self.bias is not None:
            bound = 1.0 / math.sqrt(kernel_area * self.in_channels / self.groups)
            self.bias.uniform_(-bound, bound)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._is_faster_as_product(input):
            pixels = input.permute(0, 2, 3, 1)
            return F.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        # With a stride, oneDNN does not write those elements of a bf16 weight gradient that meet padding alone (seen on
        # torch 2.14.1 with AVX512_BF16): they are what was in memory before. Without, one pixel gives the same output.
        if input.shape[-2:] == (1, 1) and self.padding == tuple(side // 2 for side in self.kernel_size):
            return F.conv2d(input, weight, bias, 1, self.padding, self.dilation, self.groups)
        return super()._conv_forward(input, weight, bias)

    def _is_faster_as_product(self, input: Tensor) -> bool:
        """Whether a 1x1 convolution is better done by oneDNN's matrix product, with channels last on a processor.

        Forward and backward of RegNetY-256GF's are 1.1 to 3.9 times as fast in bf16, ResNet-50's 1.0 to 2.7 times; in
        float32 small ones gain nothing.
        """
        return (
            input.device.type == "cpu"
            and (self.kernel_size, self.stride, self.padding, self.groups) == ((1, 1), (1, 1), (0, 0), 1)
            and input.is_contiguous(memory_format=torch.channels_last)
            and (torch.is_autocast_enabled("cpu") or input.dtype != torch.float32 or self.weight.numel() >= LARGE)
            and not torch.compiler.is_compiling()  # what is exported stays a convolution
        )
