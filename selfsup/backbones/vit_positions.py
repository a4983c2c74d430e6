"""Where a patch is: position embeddings of vision transformers, one row for the class token and one for each patch."""

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 10_000.0  # Vaswani et al. 2017, arXiv:1706.03762, section 3.5


def sincos_positions(height: int, width: int, dim: int) -> Tensor:
    """Waves along both axes, of geometrically falling frequency.

    A patch's vector is sine and cosine of its row, then sine and cosine of its column, a quarter of the numbers each;
    the class token's is zero.

    Args:
        height: rows of patches.
        width: columns of patches.
        dim: length of a vector, a multiple of 4.

    Returns:
        Shape (1, 1 + height * width, dim).

    Source: ``build_2d_sincos_position_embedding`` of vits.py, facebookresearch/moco-v3, which calls the rows w; MAE's
        code puts columns first.
    """
    frequencies = TEMPERATURE ** -(torch.arange(dim // 4) / (dim // 4))
    rows = (torch.arange(height)[:, None] * frequencies)[:, None].expand(-1, width, -1)
    columns = (torch.arange(width)[:, None] * frequencies)[None].expand(height, -1, -1)
    patches = torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 2).flatten(0, 1)
    return torch.cat([torch.zeros(1, dim), patches])[None]


def resample_positions(positions: Tensor, grid_size: int, height: int, width: int) -> Tensor:
    """Position embeddings for another grid of patches, by antialiased bicubic interpolation as in timm.

    Args:
        positions: shape (1, 1 + grid_size * grid_size, dim), the class token's first.
        grid_size: rows and columns they were made for.
        height: rows wanted.
        width: columns wanted.

    Returns:
        Shape (1, 1 + height * width, dim); the class token's row is unchanged.
    """
    if height == grid_size and width == grid_size:
        return positions
    token, patches = positions[:, :1], positions[:, 1:]
    maps = patches.transpose(1, 2).unflatten(2, (grid_size, grid_size))
    resized = F.interpolate(maps, (height, width), mode="bicubic", antialias=True)
    return torch.cat([token, resized.flatten(2).transpose(1, 2)], 1)
