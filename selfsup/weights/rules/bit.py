"""BiT's ``.npz`` files, and timm's names of the same network.

Source: google-research/big_transfer, bit_pytorch/models.py. Kernels are (height, width, in, out) in the file.
"""

import re
from typing import Any

from selfsup.weights.rules.counterpart import of_timm
from selfsup.weights.rules.rule import Layout, Rule

TIMM_EPS = 1e-8  # timm/models/resnetv2.py, _create_resnetv2_bit
NETWORK = {"type": "BiTResNet", "num_groups": 32, "eps": 1e-10}  # big_transfer's, in bit_pytorch/models.py
TIMM_NETWORK = {**NETWORK, "eps": TIMM_EPS}

_UNIT = r"(?:resnet/)?block(\d)/unit(\d+)/"
_KERNEL = r"standardized_conv2d/kernel"
_LAYER = {"a": 1, "b": 2, "c": 3}
_GAMMA = {"gamma": "weight", "beta": "bias"}


def _block(match: re.Match[str]) -> str:
    return f"layer{match[1]}.{int(match[2]) - 1}"


NPZ = (
    Layout(
        r"(?:resnet/)?root_block/" + _KERNEL,
        (
            Rule(r"(?:resnet/)?root_block/" + _KERNEL, "conv1.weight", hwio=True),
            Rule(_UNIT + r"a/proj/" + _KERNEL, lambda match: f"{_block(match)}.downsample.weight", hwio=True),
            Rule(_UNIT + r"([abc])/" + _KERNEL, lambda m: f"{_block(m)}.conv{_LAYER[m[3]]}.weight", hwio=True),
            Rule(
                _UNIT + r"([abc])/group_norm/(gamma|beta)",
                lambda match: f"{_block(match)}.norm{_LAYER[match[3]]}.{_GAMMA[match[4]]}",
            ),
            Rule(r"(?:resnet/)?group_norm/(gamma|beta)", lambda match: f"norm.{_GAMMA[match[1]]}"),
            Rule(r"(?:resnet/)?head/.+", ignored="classifier"),
        ),
    ),
)

TIMM = (
    Layout(
        r"stages\.0\.blocks\.0\.norm1\.weight",
        (
            Rule(r"stem\.conv\.weight", "conv1.weight"),
            Rule(r"stages\.(\d)\.blocks\.(\d+)\.downsample\.conv\.weight", lambda m: _stage(m, "downsample.weight")),
            Rule(r"stages\.(\d)\.blocks\.(\d+)\.((?:conv|norm)[123]\.\w+)", lambda match: _stage(match, match[3])),
            Rule(r"(norm\.\w+)", r"\1"),
            Rule(r"head\..+", ignored="classifier"),
        ),
    ),
)


def adapt(network: Any, eps: float | None) -> tuple[str, ...]:
    """Let a BiT network standardize its kernels as the one does that the weights are from: no tensor shows how.

    The smaller the kernels' variance and the deeper the network, the more its features depend on eps: by more than
    rounding from 101 layers on. Returns what was changed.
    """
    if eps is None or network.eps == eps:
        return ()
    before = network.eps
    network.set_eps(eps)
    return (f"eps {before:g} -> {eps:g}, which the weights' network has; build it with eps={eps:g}",)


def _stage(match: re.Match[str], name: str) -> str:
    return f"layer{int(match[1]) + 1}.{match[2]}.{name}"


def in_timm(backbone: Any) -> list[str]:
    """timm's BiT networks, with the backbone's eps, which no tensor shows."""
    found = of_timm(*(f"resnetv2_{size}_bit" for size in ("50x1", "50x3", "101x1", "101x3", "152x2", "152x4")))
    parts = "for part in model.modules() if isinstance(part, timm.layers.StdConv2d)"
    changed = "" if backbone.eps == TIMM_EPS else f"; [setattr(part, 'eps', {backbone.eps!r}) {parts}]"
    return [code + changed for code in found]
