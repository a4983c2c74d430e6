"""What somebody needs to know who finds a file of weights: which network, which input, where it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

import selfsup
from selfsup.engine.hooks.aside import view_side
from selfsup.engine.provenance import made_by
from selfsup.engine.shard import class_name
from selfsup.methods.base import Method
from selfsup.registry import BACKBONES, TRANSFORMS


def weights_card(
    architecture: Mapping[str, Any],
    backbone: nn.Module,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    size: int | None,
    recipe: Mapping[str, Any],
    step: int | None,
    licence: str,
) -> dict[str, Any]:
    """The card of a backbone's weights, as JSON holds it.

    Args:
        architecture: the backbone's dict; ``BACKBONES.build`` makes the network of it. Where loading weights has
            changed the network's eps, the card has what it is now.
        backbone: the network.
        mean: per channel, taken off pixels in [0, 1]; None if unknown, and then nothing else of the input is known.
        std: per channel, divided by afterwards; None if unknown.
        size: side in pixels of the square images that the network is used to; None if unknown.
        recipe: what made the weights.
        step: optimiser updates they were trained for; None if unknown.
        licence: under which terms they are.
    """
    described = {**architecture, "type": _name(architecture["type"])}
    if hasattr(backbone, "set_eps"):
        described["eps"] = backbone.eps
    return {
        "backbone": described,
        "out_dim": backbone.out_dim,
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "preprocess": {
            "channels": None if mean is None else "RGB",
            "range": None if mean is None else [0, 1],
            "mean": _rounded(mean),
            "std": _rounded(std),
            "resize": None if size is None else round(size * 256 / 224),  # evaluation shows images so
            "size": size,
            "interpolation": None if mean is None else "bilinear",
        },
        "recipe": dict(recipe),
        "step": step,
        "licence": licence,
        "versions": {"selfsup": selfsup.__version__, "torch": torch.__version__},
    }


def run_card(
    config: Mapping[str, Any],
    method: Method,
    *,
    step: int | None,
    started_from: Mapping[str, Any] | None = None,
    taught_by: Sequence[Mapping[str, Any]] = (),
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of what a run has trained.

    Args:
        config: the resolved config.
        method: what it trains.
        step: optimiser updates done; None if the file does not say.
        started_from: the weights that the run began with, see :func:`~selfsup.engine.provenance.origin`.
        taught_by: the same of the networks that taught it, such as a distillation's teacher.
        earlier: the provenance of the file that the weights are from, which knows better where they come from.
    """
    made = made_by(config.get("recipe"), class_name(method), started_from, taught_by)
    return weights_card(
        config["model"]["backbone"],
        method.backbone,
        mean=method.preprocess.mean.flatten().tolist(),
        std=method.preprocess.std.flatten().tolist(),
        size=view_side(TRANSFORMS.build(config["train_dataloader"]["views"])),
        **{**made, "step": step, **(earlier or {})},
    )


def _name(kind: Any) -> str:
    """What a config may call the class of a backbone."""
    if isinstance(kind, str):
        return kind
    registered = BACKBONES.get(kind.__name__) is kind
    return kind.__name__ if registered else f"{kind.__module__}.{kind.__qualname__}"


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(float(value), 6) for value in values]
