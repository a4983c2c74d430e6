"""The contract of backbones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_half_precision,
    check_size,
    check_state_dict,
    copied,
)
from selfsup.testing.promise import close, greatest_difference, own_random_numbers, promise, promised


def check_backbone(
    backbone: nn.Module,
    *,
    sizes: Sequence[int] = (64, 96),
    strides: Sequence[int] | None = (4, 8, 16, 32),
    batch: int = 3,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> None:
    """Check what the toolkit asks of a backbone.

    ``out_dim`` is known beforehand; images (B, 3, H, W) of every size give finite features (B, out_dim); inputs, and in
    eval mode the state, are not written to; in eval mode an image's features do not depend on its batch; the state dict
    holds everything; gradients reach every trainable parameter; channels-last images give the same; bfloat16 autocast
    works; shapes are known on the meta device, which ``--dry-run`` counts on; feature maps have the promised strides.

    Args:
        backbone: built; it is the same afterwards.
        sizes: sides of square images in pixels that it must take, one after the other.
        strides: of its ``feature_maps``, finest first; None if it does not promise any.
        batch: images at a time, > 1.
        tolerance: of the greatest feature, for results that may differ by rounding.
        seed: of the images.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    with own_random_numbers(seed):
        width = check_size(backbone, "out_dim")
        images = torch.randn(batch, 3, sizes[0], sizes[0])
        check_forward(backbone, images, width, what="the features", tolerance=tolerance)
        for size in sizes[1:]:
            with promised(backbone, f"must take images of {size} pixels after those of {sizes[0]}"):
                shape = tuple(copied(backbone)(torch.randn(batch, 3, size, size)).shape)
            promise(shape == (batch, width), backbone, f"features of {size}-pixel images have shape {shape}")
        weights = torch.randn(batch, width)
        check_gradients(backbone, lambda used: (used(images) * weights).sum())
        check_state_dict(backbone, lambda used: used(images))
        _check_channels_last(backbone, images, tolerance)
        check_half_precision(backbone, images)
        _check_meta(backbone, images, width)
        if strides is not None:
            _check_feature_maps(backbone, images, strides)


def _check_channels_last(backbone: nn.Module, images: Tensor, tolerance: float) -> None:
    with torch.no_grad():
        expected = copied(backbone).eval()(images)
        used: Any = copied(backbone).eval().to(memory_format=torch.channels_last)
        output = used(images.contiguous(memory_format=torch.channels_last))
    promise(
        close(output, expected, tolerance),
        backbone,
        f"must give the same for channels-last images, but differs by {greatest_difference(output, expected)}",
    )


def _check_meta(backbone: nn.Module, images: Tensor, width: int) -> None:
    with promised(backbone, "must run on the meta device, where --dry-run counts its multiply-adds"):
        shape = tuple(copied(backbone).eval().to("meta")(images.to("meta")).shape)
    promise(shape == (len(images), width), backbone, f"features have shape {shape} on the meta device")


def _check_feature_maps(backbone: Any, images: Tensor, strides: Sequence[int]) -> None:
    used: Any = copied(backbone).eval()
    promise(
        callable(getattr(used, "feature_maps", None)),
        backbone,
        "must have feature_maps(images); pass strides=None if it promises none",
    )
    with torch.no_grad():
        maps = used.feature_maps(images)
    promise(
        isinstance(maps, (list, tuple)) and len(maps) == len(strides),
        backbone,
        f"feature_maps must be a list of {len(strides)} tensors, got "
        + (f"{len(maps)}" if isinstance(maps, (list, tuple)) else type(maps).__name__),
    )
    sides = [tuple(each.shape[2:]) for each in maps]
    wanted = [(-(-images.shape[2] // stride),) * 2 for stride in strides]
    promise(
        sides == wanted,
        backbone,
        f"feature_maps at strides {tuple(strides)} of {images.shape[2]}-pixel images must be of size "
        f"{[side for side, _ in wanted]}, got {[side[0] if side else None for side in sides]}",
    )
