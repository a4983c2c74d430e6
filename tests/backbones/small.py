"""One network of every backbone, small enough for a test; a registered name without a line here fails the contract."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from selfsup.registry import BACKBONES


@dataclass(frozen=True)
class Small:
    """How to build it and what it promises beyond the contract.

    Args:
        config: its dict.
        stride: of its last map.
        pools_last_map: whether the features are the mean of the last map.
        has_maps: whether it has maps at strides 4, 8, 16 and 32, or the stem's quarter of them.
        checkpoints: whether it takes ``checkpoint_stages``.
        sizes: heights and widths that it must take.
    """

    config: dict[str, Any]
    stride: int = 32
    pools_last_map: bool = True
    has_maps: bool = True
    checkpoints: bool = True
    sizes: tuple[tuple[int, int], ...] = field(default=((64, 64), (96, 64), (80, 112)))


_VIT = dict(type="ViT", embed_dim=16, depth=5, num_heads=2, image_size=64)

SMALL: dict[str, Small] = {
    "RegNet": Small(dict(type="RegNet", depths=(1, 2, 1, 1), widths=(8, 16, 24, 32), group_width=8, stem_width=8)),
    "ResNet basic": Small(dict(type="ResNet", depth=18, width=0.125)),
    "ResNet": Small(dict(type="ResNet", depth=50, width=0.125)),
    "ResNet selective kernels": Small(dict(type="ResNet", depth=50, width=0.125, selective_kernels=True)),
    "ResNet cifar": Small(dict(type="ResNet", depth=18, width=0.125, stem="cifar"), stride=8),
    "BiTResNet": Small(dict(type="BiTResNet", depth=14, width=0.25, num_groups=8)),
    "BiTResNet cifar": Small(dict(type="BiTResNet", depth=14, width=0.25, num_groups=8, stem="cifar"), stride=8),
    "ViT": Small(_VIT, pools_last_map=False),
    "ViT mean": Small(
        {**_VIT, "pool": "mean", "position": "learned", "frozen_patch_projection": True}, sizes=((64, 64), (96, 64))
    ),
    "Timm": Small(
        dict(type="Timm", name="resnet10t", model_args=dict(stem_width=8, channels=(8, 16, 24, 32))), checkpoints=False
    ),
    "Timm vit": Small(
        dict(
            type="Timm",
            name="vit_tiny_patch16_224",
            model_args=dict(img_size=64, embed_dim=16, depth=2, num_heads=2, dynamic_img_size=True),
        ),
        has_maps=False,
        checkpoints=False,
    ),
}


def small(name: str, **arguments: Any) -> nn.Module:
    """The network of that line, with some arguments changed."""
    return BACKBONES.build({**SMALL[name].config, **arguments})
