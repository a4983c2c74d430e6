"""Our backbones as torchvision and timm have them."""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from selfsup.errors import CheckpointError
from selfsup.weights.families import Architecture, identify
from selfsup.weights.rules import bit, regnet, vit
from selfsup.weights.rules.rule import Rule

RESNET_DEPTHS: dict[tuple[int, ...], int] = {
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}
BASIC_WIDTH = 512
"""Channels that a ResNet of basic blocks puts out; 34 has the depths of 50."""

TIMM_REGNETS = ("004", "008", "016", "032", "040", "080", "160", "320", "640", "1280", "2560")
TIMM_BITS = ("50x1", "50x3", "101x1", "101x3", "152x2", "152x4")
TIMM_VITS = ("small_patch16_224", "base_patch16_224", "large_patch16_224")
_SAME = (Rule(r"(.+)", r"\1"),)


def counterpart(backbone: nn.Module, library: str) -> tuple[dict[str, Tensor], nn.Module, str]:
    """The same network as ``library`` builds it.

    Args:
        backbone: one of ours.
        library: ``'torchvision'`` or ``'timm'``.

    Returns:
        The weights under the library's names, the library's model without classifier, not loaded yet, and the code
        that makes it.

    Raises:
        CheckpointError: if the library has no such network.
    """
    own = backbone.state_dict()
    architecture = identify(own)
    build = _BUILDERS[library].get(architecture.family) if architecture else None
    found = build(architecture, backbone) if build and architecture else None
    if library == "timm" and type(backbone).__name__ == "Timm":
        found = _timm_itself(backbone)
    if found is None:
        raise CheckpointError(_unknown(library, architecture or type(backbone).__name__))
    model, code, rules = found
    weights = rename(own, rules)
    if {name: tensor.shape for name, tensor in weights.items()} != _shapes(model):
        raise CheckpointError(_unknown(library, architecture or type(backbone).__name__))
    return weights, model, code


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _unknown(library: str, what: Any) -> str:
    return f"{library}: has no network like the {what}; choose format safetensors, onnx or torch-export"


def rename(weights: Mapping[str, Tensor], rules: tuple[Rule, ...]) -> dict[str, Tensor]:
    """The weights under other names; every name must have a rule."""
    renamed = {}
    for name, tensor in weights.items():
        rule, match = next((rule, match) for rule in rules if (match := re.fullmatch(rule.pattern, name)))
        renamed[rule.becomes(match) if callable(rule.becomes) else match.expand(rule.becomes)] = tensor
    return renamed


Found = tuple[nn.Module, str, tuple[Rule, ...]] | None
Build = Callable[[Architecture, nn.Module], Found]


def _torchvision_regnet(architecture: Architecture, backbone: nn.Module) -> Found:
    from torchvision.models.regnet import BlockParams, RegNet

    arguments = {
        "depths": list(architecture.depths),
        "widths": list(architecture.widths),
        "group_widths": list(architecture.group_widths),
        "bottleneck_multipliers": [1.0] * 4,
        "strides": [2] * 4,
        "se_ratio": architecture.squeeze_width / architecture.stem_width or None,
    }
    model = RegNet(BlockParams(**arguments), stem_width=architecture.stem_width)
    model.fc = nn.Identity()
    stated = ", ".join(f"{name}={value}" for name, value in arguments.items())
    made = f"RegNet(BlockParams({stated}), stem_width={architecture.stem_width})"
    code = f"from torchvision.models.regnet import BlockParams, RegNet; model = {made}; model.fc = torch.nn.Identity()"
    return model, code, regnet.TO_TORCHVISION


def _resnet_name(architecture: Architecture) -> str | None:
    depth = RESNET_DEPTHS.get(architecture.depths)
    basic = architecture.widths[-1] == BASIC_WIDTH
    if depth == 50 and basic:
        depth = 34
    usual = architecture.stem == 7 and architecture.stem_width == 64
    return f"resnet{depth}" if depth and usual and basic == (depth < 50) else None


def _torchvision_resnet(architecture: Architecture, backbone: nn.Module) -> Found:
    import torchvision

    name = _resnet_name(architecture)
    if name is None:
        return None
    model = getattr(torchvision.models, name)()
    model.fc = nn.Identity()
    return model, f"model = torchvision.models.{name}(); model.fc = torch.nn.Identity()", _SAME


def _torchvision_vit(architecture: Architecture, backbone: nn.Module) -> Found:
    from torchvision.models import VisionTransformer

    heads = _heads(backbone)
    if heads is None or _pool(backbone) != "token":
        return None
    side = round((architecture.tokens - 1) ** 0.5) * architecture.stem
    (depth,), (width,) = architecture.depths, architecture.widths
    made = f"image_size={side}, patch_size={architecture.stem}, num_layers={depth}, num_heads={heads}, "
    made += f"hidden_dim={width}, mlp_dim={4 * width}"
    model = VisionTransformer(side, architecture.stem, depth, heads, width, 4 * width)
    model.heads = nn.Identity()  # type: ignore[assignment]
    code = f"model = torchvision.models.VisionTransformer({made}); model.heads = torch.nn.Identity()"
    return model, code, vit.TO_TORCHVISION


def _from_timm(names: tuple[str, ...], rules: tuple[Rule, ...]) -> Build:
    """The first of timm's models that has the architecture, looked for where nothing needs memory."""

    def build(architecture: Architecture, backbone: nn.Module) -> Found:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm imports what torch deprecates
            import timm

            pooling: dict[str, Any] = {"global_pool": "avg", "fc_norm": False} if _pool(backbone) == "mean" else {}
            stated = "".join(f", {name}={value!r}" for name, value in pooling.items())
            for name in names:
                with torch.device("meta"):
                    empty = timm.create_model(name, num_classes=0)
                if _described(empty) == architecture and _heads(empty) == _heads(backbone):
                    model = timm.create_model(name, num_classes=0, **pooling)
                    return model, f"model = timm.create_model({name!r}, num_classes=0{stated})", rules
        return None

    return build


def _timm_bit(architecture: Architecture, backbone: Any) -> Found:
    """timm's BiT with the backbone's eps, which no tensor tells."""
    found = _from_timm(tuple(f"resnetv2_{name}_bit" for name in TIMM_BITS), bit.TO_TIMM)(architecture, backbone)
    if found is None or backbone.eps == bit.TIMM_EPS:
        return found
    import timm

    model, code, rules = found
    for part in model.modules():
        if isinstance(part, timm.layers.StdConv2d):
            part.eps = backbone.eps
    standardized = "for part in model.modules() if isinstance(part, timm.layers.StdConv2d)"
    return model, f"{code}; [setattr(part, 'eps', {backbone.eps!r}) {standardized}]", rules


def _timm_itself(backbone: Any) -> Found:
    """The network that the backbone called Timm holds."""
    import timm

    model = timm.create_model(backbone.name, num_classes=0, **backbone.model_args)
    if {f"model.{name}": shape for name, shape in _shapes(model).items()} != _shapes(backbone):
        return None
    stated = "".join(f", {name}={value!r}" for name, value in backbone.model_args.items())
    return model, f"model = timm.create_model({backbone.name!r}, num_classes=0{stated})", (Rule(r"model\.(.+)", r"\1"),)


def _described(model: nn.Module) -> Architecture | None:
    tensors: Mapping[str, Tensor] = model.state_dict()
    if "stages.0.blocks.0.norm1.weight" in tensors:
        tensors = rename(tensors, bit.TIMM[0].rules)
    return identify(tensors)


def _pool(backbone: nn.Module) -> Any:
    """What stands for the image in a ViT, which its tensors do not tell."""
    return getattr(backbone, "pool", None)


def _heads(model: Any) -> int | None:
    """Attention heads of a ViT, which its tensors do not tell."""
    blocks = getattr(model, "blocks", None)
    return None if blocks is None else blocks[0].attn.num_heads


_BUILDERS: dict[str, dict[str, Build]] = {
    "torchvision": {"RegNet": _torchvision_regnet, "ResNet": _torchvision_resnet, "ViT": _torchvision_vit},
    "timm": {
        "RegNet": _from_timm(tuple(f"regnety_{name}" for name in TIMM_REGNETS), _SAME),
        "ResNet": _from_timm(tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)), _SAME),
        "BiTResNet": _timm_bit,
        "ViT": _from_timm(tuple(f"vit_{name}" for name in TIMM_VITS), _SAME),
    },
}
