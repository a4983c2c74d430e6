"""The plain vision transformer, with timm's parameter names."""

import math
from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones.base import NUM_STAGES, check_stages, quarter
from selfsup.backbones.checkpointing import run_blocks
from selfsup.backbones.pyramid import simple_pyramid
from selfsup.backbones.vit_positions import resample_positions, sincos_positions
from selfsup.errors import ConfigError, nearest
from selfsup.layers.drop_path import DropPath, set_drop_path
from selfsup.registry import BACKBONES

MLP_RATIO = 4  # Dosovitskiy et al. 2021, arXiv:2010.11929, table 1
NORM_EPS = 1e-6  # as in the JAX code, timm and MoCo v3; PyTorch's default is 1e-5
POOLS = ("token", "mean")
POSITIONS = ("sincos", "learned")

ARCHS: dict[str, tuple[int, int, int]] = {  # embed_dim, depth, num_heads
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}


class PatchEmbed(nn.Module):
    """Every patch of the image to a vector."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Images of shape (B, 3, H, W) to (B, embed_dim, H / patch_size, W / patch_size)."""
        return self.proj(images)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (B, T, embed_dim) to the same shape."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with GELU between them, for each token on its own."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, MLP_RATIO * embed_dim)
        self.fc2 = nn.Linear(MLP_RATIO * embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (B, T, embed_dim) to the same shape."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each after a layer norm and beside a shortcut."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.mlp = FeedForward(embed_dim)
        self.drop_path = DropPath()

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (B, T, embed_dim) to the same shape."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


@BACKBONES.register_module()
class ViT(nn.Module):
    """Vision transformer without its classifier.

    Images of any size that is a whole number of patches are taken, so that multi-crop works: the position embeddings
    are resampled to the grid of patches.

    MoCo v3's ViT-S is ``ViT('small', num_heads=12, frozen_patch_projection=True)``: its heads are 12, where the ViT-S
    of DeiT and timm has 6. Its larger networks have the heads of the table.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, ``'large'`` or ``'huge'``; gives what the next three leave out.
        embed_dim: length of every token, a multiple of the heads.
        depth: number of blocks.
        num_heads: attention heads of each block.
        image_size: side of the square images whose grid of patches the position embeddings are made for, in pixels.
        patch_size: side of a patch in pixels.
        pool: what stands for the image after the final layer norm: the class token, or the mean of the patches.
        position: ``'sincos'`` for fixed waves along both axes, ``'learned'`` for trained vectors.
        frozen_patch_projection: keep the projection of the patches as it was drawn, which keeps MoCo v3 stable.
        drop_path: share of the images whose residual branch is left out in the last block, falling to 0 in the first;
            in training alone.
        checkpoint_stages: quarters of the blocks, from 1, whose activations are computed again in the backward pass.

    Raises:
        ConfigError: if a name is unknown, a size is missing or not positive, or sizes do not divide as they must.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929; Chen et al. 2021, arXiv:2104.02057, section 4 and vits.py of
        facebookresearch/moco-v3, whose initialization is used throughout: linear layers and the patch projection
        uniform as in Glorot and Bengio 2010 (query, key and value each on its own), biases zero, the class token
        N(0, 1e-12); learned positions N(0, 0.02^2) as in timm.
    """

    def __init__(
        self,
        arch: str | None = None,
        *,
        embed_dim: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        image_size: int = 224,
        patch_size: int = 16,
        pool: Literal["token", "mean"] = "token",
        position: Literal["sincos", "learned"] = "sincos",
        frozen_patch_projection: bool = False,
        drop_path: float = 0.0,
        checkpoint_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        embed_dim, depth, num_heads = _sizes(arch, embed_dim, depth, num_heads)
        for name, choice, choices in (("pool", pool, POOLS), ("position", position, POSITIONS)):
            if choice not in choices:
                raise ConfigError.at(name, f"nothing is called {choice!r}", expected=nearest(choice, choices))
        if patch_size < 1 or image_size < 1 or image_size % patch_size:
            raise ConfigError.at("image_size", f"must be a multiple of patch_size={patch_size}", got=image_size)
        if position == "sincos" and embed_dim % 4:
            raise ConfigError.at("embed_dim", "must be a multiple of 4 for position='sincos'", got=embed_dim)
        self.out_dim = embed_dim
        self.patch_size = patch_size
        self.grid_size = image_size // patch_size
        self.num_heads = num_heads
        self.pool = pool
        self.checkpoint_stages = check_stages(checkpoint_stages)
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        positions = (
            sincos_positions(self.grid_size, self.grid_size, embed_dim)
            if position == "sincos"
            else torch.empty(1, 1 + self.grid_size**2, embed_dim)
        )
        self.pos_embed = nn.Parameter(positions, requires_grad=position == "learned")
        self.blocks = nn.Sequential(*[TransformerBlock(embed_dim, num_heads) for _ in range(depth)])
        set_drop_path(list(self.blocks), drop_path)
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self._initialize()
        self.patch_embed.proj.requires_grad_(not frozen_patch_projection)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W)."""
        tokens = self._tokens(images)
        return tokens[:, 0] if self.pool == "token" else tokens[:, 1:].mean(1)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The final map at strides 4, 8, 16 and 32, of images of shape (B, 3, H, W).

        A plain transformer keeps one resolution. All four maps are its last one, the patches' tokens after the final
        layer norm, enlarged bilinearly or averaged down to ``ceil(H / stride)`` rows.
        """
        height, width = images.shape[2:]
        tokens = self._tokens(images)[:, 1:]
        last = tokens.transpose(1, 2).unflatten(2, (height // self.patch_size, width // self.patch_size))
        return simple_pyramid(last, height, width)

    def not_in_weights(self) -> dict[str, Any]:
        """The arguments that decide about features and that no tensor tells."""
        return {"num_heads": self.num_heads, "pool": self.pool}

    def _tokens(self, images: Tensor) -> Tensor:
        """The class token and the patches' tokens after the final layer norm, shape (B, 1 + patches, out_dim)."""
        height, width = images.shape[2:]
        if height % self.patch_size or width % self.patch_size or not height or not width:
            raise ConfigError.at(
                "", f"images must be whole patches of {self.patch_size} pixels, got {height} x {width}"
            )
        patches = self.patch_embed(images)
        positions = resample_positions(self.pos_embed, self.grid_size, *patches.shape[2:])
        tokens = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + positions
        for number in range(1, NUM_STAGES + 1):
            blocks = self.blocks[quarter(number, len(self.blocks))]
            tokens = run_blocks(blocks, tokens, checkpointed=number in self.checkpoint_stages)
        return self.norm(tokens)

    @torch.no_grad()
    def _initialize(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                fan_out = len(module.weight) // 3 if name.endswith("qkv") else len(module.weight)
                bound = math.sqrt(6 / (fan_in + fan_out))
                module.weight.uniform_(-bound, bound)
                if module.bias is not None:
                    module.bias.zero_()
        self.cls_token.normal_(std=1e-6)
        if self.pos_embed.requires_grad:
            self.pos_embed.normal_(std=0.02)


def _sizes(arch: str | None, embed_dim: int | None, depth: int | None, num_heads: int | None) -> tuple[int, int, int]:
    """The three sizes, from the name where they are not given."""
    if arch is not None:
        if arch not in ARCHS:
            raise ConfigError.at("arch", f"no architecture is called {arch!r}", expected=nearest(arch, ARCHS))
        named = ARCHS[arch]
        embed_dim, depth, num_heads = (
            default if given is None else given
            for given, default in zip((embed_dim, depth, num_heads), named, strict=True)
        )
    if embed_dim is None or depth is None or num_heads is None:
        raise ConfigError.at(
            "",
            f"give arch, or embed_dim, depth and num_heads; got embed_dim={embed_dim}, depth={depth}, "
            f"num_heads={num_heads}",
        )
    if min(embed_dim, depth, num_heads) < 1 or embed_dim % num_heads:
        raise ConfigError.at(
            "",
            "embed_dim, depth and num_heads must be > 0 and num_heads divide embed_dim, got "
            f"embed_dim={embed_dim}, depth={depth}, num_heads={num_heads}",
        )
    return embed_dim, depth, num_heads
