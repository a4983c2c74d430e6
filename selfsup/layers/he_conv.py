"""The convolution of the residual networks: drawn once, from the distribution their papers use."""

import math

import torch
from torch import nn


class HeConv2d(nn.Conv2d):
    """Convolution whose weights are drawn from N(0, 2 / (kernel area * out channels)).

    PyTorch's own initialization would be drawn first and thrown away, which doubles the time it takes to build a
    network with a billion parameters. The channel groups do not enter the variance; a bias keeps PyTorch's uniform
    initialization.

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
