"""The contract of backbones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import close, greatest_difference, must, own_random_numbers, require
from selfsup.testing.feature_maps import check_feature_maps
from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_half_precision,
    check_halves,
    check_kind,
    check_size,
    check_state_dict,
    copied,
)


def check_backbone(
    backbone: nn.Module,
    *,
    another: nn.Module | None = None,
    sizes: Sequence[int | tuple[int, int]] = (64, (96, 64), (80, 112)),
    strides: Sequence[int] | None = (4, 8, 16, 32),
    pools_last_map: bool = False,
    batch: int = 3,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> None:
    """Check what the toolkit asks of a backbone.

    - It is a torch.nn.Module whose ``out_dim`` is known before a forward pass.
    - Images (B, 3, H, W) of every size give finite float32 features (B, out_dim), others for other images; in eval mode
      an image's features do not depend on its batch. Channels-last images give the same.
    - Inputs, training flags and, in eval mode, state and global random generators are left alone.
    - The state dict holds everything.
    - Gradients reach every trainable parameter, in eval mode too, and come from all features.
    - bfloat16 autocast gives nearly the same, and the meta device works.
    - Feature maps have the given strides and keep the rules of features.

    Args:
        backbone: built; it is the same afterwards.
        another: the same built once more, after other random numbers: its state dict loaded must make it the same.
            None for a copy with other weights, in which constants that are drawn when it is built go unnoticed.
        sizes: sides of square images in pixels, or (height, width), that it must take, one after the other.
        strides: of its ``feature_maps``, finest first; None if it has none.
        pools_last_map: whether the features must be the mean of the last map.
        batch: images at a time, > 1.
        tolerance: of the greatest value, for results that may differ by rounding.
        seed: of the images.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    check_kind(backbone)
    shapes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
    with own_random_numbers(seed):
        width = check_size(backbone, "out_dim")
        images = torch.randn(batch, 3, *shapes[0])
        check_forward(backbone, images, width, what="the features", tolerance=tolerance)
        for height, wide in shapes[1:]:
            with must(backbone, f"must take images of {height} x {wide} pixels after those of {shapes[0][0]}"):
                found = tuple(copied(backbone)(torch.randn(batch, 3, height, wide)).shape)
            right = found == (batch, width)
            require(right, backbone, f"features of images of {height} x {wide} pixels have shape {found}")
        weights = torch.randn(batch, width)
        for training, purpose in ((True, "training"), (False, "eval mode")):
            check_gradients(backbone, lambda used: (used(images) * weights).sum(), training=training, purpose=purpose)
        check_halves(backbone, images, weights, what="the features")
        check_state_dict(backbone, lambda used: used(images), another=another)
        _check_channels_last(backbone, images, tolerance)
        check_half_precision(backbone, images)
        with must(backbone, "must run on the meta device, where --dry-run counts its multiply-adds"):
            found = tuple(copied(backbone).eval().to("meta")(images.to("meta")).shape)
        require(found == (batch, width), backbone, f"features have shape {found} on the meta device")
        for height, wide in shapes if strides is not None else ():
            check_feature_maps(
                backbone,
                torch.randn(batch, 3, height, wide),
                strides or (),
                pools_last_map=pools_last_map,
                tolerance=tolerance,
            )


def _check_channels_last(backbone: nn.Module, images: Tensor, tolerance: float) -> None:
    with torch.no_grad():
        expected = copied(backbone).eval()(images)
        used: Any = copied(backbone).eval().to(memory_format=torch.channels_last)
        output = used(images.contiguous(memory_format=torch.channels_last))
    difference = greatest_difference(output, expected)
    require(
        close(output, expected, tolerance),
        backbone,
        f"must give the same for channels-last images, but differs by {difference}",
    )
