"""The contract of a backbone's feature maps, which detectors and segmenters read."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.modules import copied, flags_of, moved_flags, state_of
from selfsup.testing.promise import (
    close,
    global_random_state,
    greatest_difference,
    listed,
    promise,
    promised,
    same_values,
)


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
    promise(
        callable(getattr(used, "feature_maps", None)),
        backbone,
        "must have feature_maps(images); pass strides=None if it promises none",
    )
    flags = flags_of(used)
    before, random_before, given = state_of(used), global_random_state(), images.clone()
    with promised(backbone, f"feature_maps must take images of shape {tuple(images.shape)}"):
        maps = used.feature_maps(images)
    found = f"{len(maps)}" if isinstance(maps, (list, tuple)) else type(maps).__name__
    promise(
        isinstance(maps, (list, tuple)) and len(maps) == len(strides),
        backbone,
        f"feature_maps must be a list of {len(strides)} tensors, got {found}",
    )
    promise(torch.equal(images, given), backbone, "feature_maps must not write to its input")
    moved = listed(moved_flags(used, flags))
    promise(not moved, backbone, f"feature_maps must leave the training flags as they were, but not of {moved}")
    promise(same_values(state_of(used), before), backbone, "feature_maps must leave the state alone in eval mode")
    promise(
        global_random_state() == random_before,
        backbone,
        "feature_maps must leave the global random generators alone in eval mode",
    )
    _check_shapes(backbone, maps, images, strides)
    _check_values(backbone, used, maps, images, tolerance)
    if pools_last_map:
        with torch.no_grad():
            features, pooled = used(images), maps[-1].mean((2, 3))
        promise(
            close(pooled, features, tolerance),
            backbone,
            f"the features must be the mean of the last map, but differ by {greatest_difference(pooled, features)}",
        )


def _check_shapes(backbone: nn.Module, maps: Sequence[Tensor], images: Tensor, strides: Sequence[int]) -> None:
    batch, _, height, width = images.shape
    shapes = [tuple(each.shape) for each in maps]
    promise(
        all(len(shape) == 4 and shape[0] == batch and shape[1] > 0 for shape in shapes),
        backbone,
        f"every feature map must have shape ({batch}, channels, height, width), got {shapes}",
    )
    sides = [shape[2:] for shape in shapes]
    wanted = [(-(-height // stride), -(-width // stride)) for stride in strides]
    promise(
        sides == wanted,
        backbone,
        f"feature_maps at strides {tuple(strides)} of images of {height} x {width} pixels must be of size {wanted}, "
        f"got {sides}",
    )


def _check_values(backbone: nn.Module, used: Any, maps: Sequence[Tensor], images: Tensor, tolerance: float) -> None:
    trainable = [parameter for parameter in used.parameters() if parameter.requires_grad]
    for number, each in enumerate(maps):
        promise(bool(each.isfinite().all()), backbone, f"feature map {number} must be finite for normal inputs")
        promise(
            each.dtype == torch.float32,
            backbone,
            f"feature map {number} must be float32 as the input, got {each.dtype}",
        )
        gradients: tuple[Tensor | None, ...] = ()
        if each.requires_grad:
            gradients = torch.autograd.grad(each.square().sum(), trainable, retain_graph=True, allow_unused=True)
        promise(
            any(gradient is not None and bool(gradient.any()) for gradient in gradients),
            backbone,
            f"a gradient must reach parameters from feature map {number}, or a detector could not train them",
        )
    with torch.no_grad():
        again = used.feature_maps(images)
        promise(
            all(map(torch.equal, maps, again)),
            backbone,
            "feature_maps must give the same for the same images in eval mode",
        )
        alone = used.feature_maps(images[-1:])
    wrong = [
        number
        for number, (one, each) in enumerate(zip(alone, maps, strict=True))
        if not close(one, each[-1:], tolerance)
    ]
    promise(
        not wrong,
        backbone,
        f"the feature maps of an image must not depend on the others of its batch in eval mode, but number "
        f"{wrong[0] if wrong else 0} does",
    )
