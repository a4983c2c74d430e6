"""The contract of a backbone's feature maps, which detectors and segmenters read."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import close, greatest_difference, require
from selfsup.testing.modules import check_output, check_use, copied, reaches


def check_feature_maps(
    backbone: nn.Module, images: Tensor, strides: Sequence[int], *, pools_last_map: bool, tolerance: float
) -> None:
    """Check ``feature_maps`` in eval mode.

    Args:
        backbone: is copied.
        images: shape (B, 3, H, W), B > 1.
        strides: of the maps, finest first.
        pools_last_map: whether the features must be the mean of the last map.
        tolerance: of the greatest value.
    """
    used: Any = copied(backbone).eval()
    has_maps = callable(getattr(used, "feature_maps", None))
    require(has_maps, backbone, "must have feature_maps(images); pass strides=None if it has none")
    maps = check_use(backbone, used, lambda used, images: used.feature_maps(images), images, what="feature_maps")
    right = isinstance(maps, (list, tuple)) and len(maps) == len(strides)
    found = len(maps) if isinstance(maps, (list, tuple)) else type(maps).__name__
    require(right, backbone, f"feature_maps must be a list of {len(strides)} tensors, got {found}")
    trainable = [parameter for parameter in used.parameters() if parameter.requires_grad]
    with torch.no_grad():
        alone = used.feature_maps(images[-1:])
    for number, (stride, each) in enumerate(zip(strides, maps, strict=True)):
        what = f"feature map {number}"
        channels = each.shape[1] if each.ndim == 4 and each.shape[1] else 1
        height, width = (-(-side // stride) for side in images.shape[2:])
        check_output(backbone, each, (len(images), channels, height, width), what)
        require(
            reaches(each.square().sum(), trainable),
            backbone,
            f"a gradient must reach parameters from {what}, or a detector could not train them",
        )
        require(
            close(alone[number], each[-1:], tolerance),
            backbone,
            f"{what} of an image must not depend on the others of its batch in eval mode",
        )
    if pools_last_map:
        with torch.no_grad():
            features, pooled = used(images), maps[-1].mean((2, 3))
        require(
            close(pooled, features, tolerance),
            backbone,
            f"the features must be the mean of the last map, but differ by {greatest_difference(pooled, features)}",
        )
