"""Layers by name: the pooled features, a feature map averaged over its places, or one pooled and flattened."""

import re
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from selfsup.errors import ConfigError

LAYERS = ("pooled", "res2", "res3", "res4", "res5")
"""The layers whose features can be asked for."""

_FLATTENED = re.compile(r"(res[2-5]):(?:([1-9]\d*)/([1-9]\d*)|([1-9]\d*)x([1-9]\d*))")


def check_layer(layer: str) -> None:
    """Reject a layer that there is not.

    Raises:
        ConfigError: if it is none of :data:`LAYERS` and no pooling of one.
    """
    if layer not in LAYERS and _FLATTENED.fullmatch(layer) is None:
        expected = "or a pooling of one, such as 'res4:8/3' or 'res5:3x1'"
        raise ConfigError.at("layer", f"must be one of {', '.join(LAYERS)}", got=layer, expected=expected)


def map_of(maps: Sequence[Tensor], layer: str) -> Tensor:
    """Which of the four feature maps a layer reads: (B, C, H, W)."""
    return maps[LAYERS.index(layer.partition(":")[0]) - 1]


def pool_map(maps: Sequence[Tensor], layer: str) -> Tensor:
    """The features of a layer, (B, D), from the four feature maps.

    Args:
        maps: of strides 4, 8, 16 and 32.
        layer: ``'res2'`` to ``'res5'``; with ``':8/3'`` averages of windows of 8 x 8 places every 3, flattened; with
            ``':3x1'`` averages down to 3 x 1 places, flattened.

    Raises:
        ConfigError: if the windows do not fit into the map.
    """
    chosen = map_of(maps, layer)
    if (match := _FLATTENED.fullmatch(layer)) is None:
        return chosen.mean((2, 3))
    _, kernel, stride, height, width = match.groups()
    if kernel is None:
        return adaptive_avg_pool2d(chosen, (int(height), int(width))).flatten(1)
    if min(chosen.shape[2:]) < int(kernel):
        size = "x".join(map(str, chosen.shape[2:]))
        raise ConfigError.at("layer", f"windows of {kernel} do not fit into the map of {size} places", got=layer)
    return avg_pool2d(chosen, int(kernel), int(stride)).flatten(1)
