"""Small parts with the interfaces of the real ones."""

import torch
from torch import Tensor, nn

from tests.reference import record


class TinyBackbone(nn.Module):
    """One convolution with batch norm, pooled."""

    def __init__(self, out_dim: int = 8) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv2d(3, out_dim, 3, bias=False)
        self.bn = nn.BatchNorm2d(out_dim)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape))
        return self.bn(self.conv(images)).relu().mean((2, 3))


class Flatten(nn.Module):
    """Views are embeddings already: (B, D, 1, 1) -> (B, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_dim = self.out_dim = dim

    def forward(self, views: Tensor) -> Tensor:
        return views.flatten(1)


class Lookup(nn.Module):
    """A predictor that answers each of the rows it knows with another."""

    def __init__(self, known: Tensor, answers: Tensor) -> None:
        super().__init__()
        self.in_dim, self.out_dim = known.shape[1], answers.shape[1]
        self.known, self.answers = known, answers

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.answers[torch.cdist(embeddings, self.known).argmin(dim=1)]


def images(*sizes: int, batch: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random views of the given sizes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, size, size, generator=generator, dtype=dtype) for size in sizes]


def recorded_embeddings(name: str) -> tuple[list[Tensor], Lookup]:
    """A record's z1 and z2 as two views that :class:`Flatten` gives back, and what predicts its p1 and p2 from them."""
    p1, p2, z1, z2 = (torch.tensor(record(name)["input"][key], dtype=torch.float64) for key in ("p1", "p2", "z1", "z2"))
    return [z.view(4, 3, 1, 1) for z in (z1, z2)], Lookup(torch.cat([z1, z2]), torch.cat([p1, p2]))
