"""The contract of backbones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import must, own_random_numbers, require, require_close
from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_half_precision,
    check_output,
    check_size,
    check_state_dict,
    check_use,
    copied,
    reaches,
)


def check_backbone(
    backbone: nn.Module,
    *,
    another: nn.Module | None = None,
    sizes: Sequence[int | tuple[int, int]] = (64, (96, 64), (80, 112)),
    strides: Sequence[int] | None = (4, 8, 16, 32),
    pools_last_map: bool = False,
    tolerance: float = 1e-4,
) -> None:
    """Check what the toolkit asks of a backbone.

    - It is a torch.nn.Module whose ``out_dim`` is known before a forward pass.
    - Images (B, 3, H, W) of every size give finite float32 features (B, out_dim), others for other images; in eval mode
      an image's features do not depend on its batch. Channels-last images give the same, bfloat16 autocast nearly so,
      and the meta device works.
    - Inputs, training flags and, in eval mode, state and global random generators are left alone.
    - The state dict holds everything; gradients reach every trainable parameter, in eval mode too.
    - Feature maps have the given strides and keep the rules of features.

    Args:
        backbone: built; it is the same afterwards.
        another: the same built once more, after other random numbers: its state dict loaded must make it the same.
            None for a copy with other weights, in which constants that are drawn when it is built go unnoticed.
        sizes: sides of square images in pixels, or (height, width), that it must take, one after the other.
        strides: of its ``feature_maps``, finest first; None if it has none.
        pools_last_map: whether the features must be the mean of the last map.
        tolerance: of the greatest value, for results that may differ by rounding.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(backbone, nn.Module), backbone, "must be a torch.nn.Module")
    shapes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
    with own_random_numbers():
        width = check_size(backbone, "out_dim")
        images = torch.randn(3, 3, *shapes[0])
        check_forward(backbone, backbone, images, width, what="the features", tolerance=tolerance)
        weights = torch.randn(3, width)
        for training in (True, False):
            check_gradients(backbone, lambda used: (used(images) * weights).sum(), training=training)
        check_state_dict(backbone, lambda used: used(images), another=another)
        used, expected = copied(backbone).eval(), copied(backbone).eval()(images)
        output = used.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
        sentence = "must give the same for channels-last images"
        require_close(output, expected, backbone, sentence, tolerance=tolerance)
        check_half_precision(backbone, images)
        with must(backbone, "must run on the meta device, where --dry-run counts its multiply-adds"):
            copied(backbone).eval().to("meta")(images.to("meta"))
        for height, wide in shapes:
            others = torch.randn(3, 3, height, wide)
            with must(backbone, f"must take images of {height} x {wide} pixels"):
                features = copied(backbone)(others)
            check_output(backbone, features, (3, width), f"features of images of {height} x {wide} pixels")
            if strides is not None:
                _check_maps(backbone, others, strides, pools_last_map=pools_last_map, tolerance=tolerance)


def _check_maps(
    backbone: nn.Module, images: Tensor, strides: Sequence[int], *, pools_last_map: bool, tolerance: float
) -> None:
    """``feature_maps``, which detectors and segmenters read, in eval mode."""
    used: Any = copied(backbone).eval()
    has_maps = callable(getattr(used, "feature_maps", None))
    require(has_maps, backbone, "must have feature_maps(images); pass strides=None if it has none")
    maps = check_use(backbone, used, lambda used, images: used.feature_maps(images), images, what="feature_maps")
    found = len(maps) if isinstance(maps, (list, tuple)) else type(maps).__name__
    require(found == len(strides), backbone, f"feature_maps must be a list of {len(strides)} tensors, got {found}")
    trainable = [parameter for parameter in used.parameters() if parameter.requires_grad]
    with torch.no_grad():
        alone, features = used.feature_maps(images[-1:]), used(images)
    for number, (stride, each) in enumerate(zip(strides, maps, strict=True)):
        what = f"feature map {number}"
        channels = each.shape[1] if each.ndim == 4 else 1
        check_output(backbone, each, (len(images), channels, *(-(-side // stride) for side in images.shape[2:])), what)
        reached = reaches(each.square().sum(), trainable)
        require(reached, backbone, f"a gradient must reach parameters from {what}, or a detector cannot train them")
        sentence = f"{what} of an image must not depend on the others of its batch in eval mode"
        require_close(alone[number], each[-1:], backbone, sentence, tolerance=tolerance)
    if pools_last_map:
        sentence = "the features must be the mean of the last map"
        require_close(maps[-1].mean((2, 3)), features, backbone, sentence, tolerance=tolerance)
