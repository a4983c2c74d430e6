"""What the tests of the kits share: how a kit rejects, and a backbone that keeps every promise."""

from typing import Any

import pytest
from torch import Tensor, nn


def said(check: Any, *arguments: Any, **options: Any) -> str:
    """The sentence with which a kit rejects."""
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **options)
    return str(caught.value)


class Net(nn.Module):
    """A backbone that keeps every promise; others derive from it and break one each."""

    def __init__(self, out_dim: Any = 6) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, 6, 4, stride=4)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn(self.conv(images)).relu().mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.bn(self.conv(images)).relu()]
