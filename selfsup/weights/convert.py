"""From a file that others wrote to one of ours, without ever building the network in memory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.backbones import Timm
from selfsup.registry import BACKBONES, METHODS
from selfsup.weights.card import check_card, check_place, read_card, weights_card
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.load import find_and_check
from selfsup.weights.load_report import LoadReport
from selfsup.weights.read import read_weights
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.write import write_card, write_weights


def convert_file(
    path: str | Path,
    out: str | Path,
    *,
    architecture: Mapping[str, Any],
    method: Mapping[str, Any] | None = None,
    source: str,
    prefix: str = "",
    key: str = "",
) -> LoadReport:
    """Convert weights to a file that ``selfsup test`` and ``selfsup train --init-from`` take.

    Args:
        path: the weights.
        out: the file to write, ``.safetensors`` or ``.pth``; its card goes beside it as ``.json``.
        architecture: the backbone's dict.
        method: a method's dict with that backbone, if its heads are wanted too; ``out`` holds the whole method then.
        source: who wrote them, a key of :data:`selfsup.weights.SOURCES`.
        prefix: of the names to look at, taken off first.
        key: which of several state dicts in the file is wanted; '' for the usual one.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if the file cannot be read, a tensor does not find its place, or ``out`` would replace the file
            itself, or its card a file that is no card, or one that another file of weights has; nothing is written
            then.
        ConfigError: if the network cannot be built.
    """
    path, out = Path(path), Path(out)
    check_place(out, source=path)
    with torch.device("meta"):
        model: Any = BACKBONES.build(dict(architecture)) if method is None else METHODS.build(dict(method))
    state = read_weights(path, mapped=True)
    backbone = model if method is None else model.backbone
    weights, report = find_and_check(
        state,
        model,
        backbone,
        file=path,
        source=source,
        prefix=prefix,
        key=key,
        whole=method is not None,
        adapting=True,
    )
    own = model.state_dict()
    weights |= {name: torch.zeros_like(own[name], device="cpu") for name in report.kept}  # counters and queues
    mean, std, size = _input_of(path, backbone, source)
    card = weights_card(
        architecture,
        backbone,
        mean=mean,
        std=std,
        size=size,
        recipe={"converted_from": path.name, "source": source} | ({"key": key} if key else {}),
        step=None,
        license="that of the file it was converted from",
    )
    check_card(out, card, source=path)
    if method is None:
        write_weights(weights, out, card)
    else:
        whole = {name: tensor.contiguous() for name, tensor in weights.items()}
        Checkpoint(model=whole, method=type(model).__name__, card=json.loads(json.dumps(card))).write(out)
        write_card(card, out)
    return report


def _input_of(path: Path, backbone: nn.Module, source: str) -> tuple[Any, Any, Any]:
    """Mean, standard deviation and size that the weights expect, each None if it is not known."""
    card = read_card(path)
    if card is not None and isinstance(shown := card.get("preprocess"), Mapping):
        return shown.get("mean"), shown.get("std"), shown.get("size")
    mean, std = SOURCES[source].normalization
    if source == "timm" and isinstance(backbone, Timm):
        mean, std = backbone.normalization
    return mean, std, None
