"""The contract of backbones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
from selfsup.testing.promise import close, greatest_difference, own_random_numbers, promise, promised


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

    It is a torch.nn.Module, whose ``out_dim`` is known beforehand; images (B, 3, H, W) of every size give finite
    float32 features (B, out_dim), others for other images; inputs, training flags and global random generators, and in
    eval mode the state, are left alone; in eval mode an image's features do not depend on its batch; the state dict
    holds everything, and a copy shares nothing; gradients reach every trainable parameter, in eval mode too, and come
    from all features; channels-last images give the same; bfloat16 autocast works, with gradients of nearly the same
    direction; shapes are known on the meta device, which ``--dry-run`` counts on; feature maps have the promised
    strides, and keep the promises of features.

    Args:
        backbone: built; it is the same afterwards.
        another: the same built once more, after other random numbers: its state dict loaded must make it the same.
            None for a copy with other weights, in which constants that are drawn when it is built go unnoticed.
        sizes: sides of square images in pixels, or (height, width), that it must take, one after the other.
        strides: of its ``feature_maps``, finest first; None if it does not promise any.
        pools_last_map: whether the features must be the mean of the last map.
        batch: images at a time, > 1.
        tolerance: of the greatest value, for results that may differ by rounding.
        seed: of the images.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    check_kind(backbone)
    shapes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
    with own_random_numbers(seed):
        width = check_size(backbone, "out_dim")
        images = torch.randn(batch, 3, *shapes[0])
        check_forward(backbone, images, width, what="the features", tolerance=tolerance)
        for height, wide in shapes[1:]:
            with promised(backbone, f"must take images of {height} x {wide} pixels after those of {shapes[0][0]}"):
                shape = tuple(copied(backbone)(torch.randn(batch, 3, height, wide)).shape)
            promise(
                shape == (batch, width), backbone, f"features of images of {height} x {wide} pixels have shape {shape}"
            )
        weights = torch.randn(batch, width)
        for training in (True, False):
            check_gradients(
                backbone,
                lambda used: (used(images) * weights).sum(),
                training=training,
                purpose="training" if training else "eval mode",
            )
        check_halves(backbone, images, weights, what="the features")
        check_state_dict(backbone, lambda used: used(images), another=another)
        _check_channels_last(backbone, images, tolerance)
        check_half_precision(backbone, images)
        _check_meta(backbone, images, width)
        if strides is not None:
            for height, wide in shapes:
                check_feature_maps(
                    backbone,
                    torch.randn(batch, 3, height, wide),
                    strides,
                    pools_last_map=pools_last_map,
                    tolerance=tolerance,
                )


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
