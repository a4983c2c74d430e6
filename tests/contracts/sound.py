"""Components that keep every rule; the broken ones derive from them and break one each."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from selfsup.losses import NTXentLoss
from selfsup.methods import SimCLR
from selfsup.necks import ProjectionNeck


class Net(nn.Module):
    """A backbone."""

    def __init__(self, out_dim: Any = 6) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, 6, 4, stride=4)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn(self.conv(images)).relu().mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.bn(self.conv(images)).relu()]


class Neck(nn.Linear):
    """A neck."""

    def __init__(self, in_dim: int = 5, out_dim: int = 4) -> None:
        super().__init__(in_dim, out_dim)
        self.in_dim, self.out_dim = in_dim, out_dim


class Distance(nn.Module):
    """A loss."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.float() - b.float()).square().mean()


class Sound(SimCLR):
    """A method."""

    def __init__(self) -> None:
        super().__init__(Net(), ProjectionNeck(6, (8,), 4), NTXentLoss(0.5))


class Darken:
    """A transform."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image // np.uint8(1 + rng.integers(3))


class TwoCrops:
    """A view pipeline."""

    num_views = 2

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        return [np.resize(image // np.uint8(1 + rng.integers(3)), (4, 4, 3)) for _ in range(2)]


class Images:
    """An image source."""

    labels: Any = (0, -1, 1)
    classes: Any = ("ant", "bee")
    groups: Any = (7, 7, 9)

    def __len__(self) -> int:
        return 3

    def image(self, index: int) -> np.ndarray:
        return np.full((4, 5, 3), index, np.uint8)

    def name(self, index: int) -> str:
        return f"photos/{index}.jpg"
