"""What a network is put together of besides its tensors: kinds of layers and their settings."""

import re
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

TRAINING_ONLY = re.compile(
    r"training|momentum|inplace|grad_checkpointing|fused_attn|num_classes|\w*drop\w*|\w*init\w*", re.IGNORECASE
)
SIZES_TAKEN = ("dynamic_img_size", "strict_img_size", "flatten", "output_fmt")
"""Settings of timm's by which a network takes images of more sizes; on those it took anyway nothing changes."""


def composition(network: nn.Module) -> dict[str, Any]:
    """Layers by name, and their settings by name of the layer and of the setting; the outermost come first.

    What matters in training alone, as dropout and first values do, is left out, and so is what is no plain value.
    """
    found: dict[str, Any] = {}
    for path, layer in network.named_modules():
        kind = _kind(layer)
        if kind == "Identity" or "Drop" in kind:  # the identity too, once trained
            continue
        if path:
            found[path] = kind
        for name, value in vars(layer).items():
            if _is_plain(value) and not (name.startswith("_") or name in SIZES_TAKEN or TRAINING_ONLY.fullmatch(name)):
                found[f"{path}.{name}" if path else name] = value
    return found


def _kind(layer: nn.Module) -> str:
    """The name of a layer's class, whether or not the network is made ready to train on several processes."""
    if isinstance(layer, _BatchNorm):
        return "BatchNorm"  # synchronized or not
    return next(kind.__name__ for kind in type(layer).__mro__ if not kind.__name__.startswith("FSDP"))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
