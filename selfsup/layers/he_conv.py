"""The convolution of the residual networks: drawn once, from the distribution their papers use."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HeConv2d(nn.Conv2d):
    """Convolution whose weights are drawn from N(0, 2 / (kernel area * out channels)).

    PyTorch's own initialisation would be drawn first and thrown away, which doubles the time it takes to build a
    network with a billion parameters. The channel groups do not enter the variance; a bias keeps PyTorch's uniform
    initialisation.

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
        # With a stride, oneDNN does not write those elements of a bf16 weight gradient that meet padding alone (seen on
        # torch 2.14.1 with AVX512_BF16): they are what was in memory before. Without, one pixel gives the same output.
        if input.shape[-2:] == (1, 1) and self.padding == tuple(side // 2 for side in self.kernel_size):
            return F.conv2d(input, weight, bias, 1, self.padding, self.dilation, self.groups)
        return super()._conv_forward(input, weight, bias)
