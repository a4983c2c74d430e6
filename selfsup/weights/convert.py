"""From a file that others wrote to one of ours, without ever building the network in memory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from selfsup.backbones import Timm
from selfsup.data.input_contract import InputContract
from selfsup.registry import BACKBONES, METHODS
from selfsup.weights.card import UNKNOWN_INPUT, check_card, read_card, weights_card
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.load_report import LoadReport
from selfsup.weights.read import read_weights
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.translate import find_weights
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
        source, prefix, key: see :func:`~selfsup.weights.load.load_backbone`.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if the file cannot be read, a tensor does not find its place, or something of others would be
            replaced, see :func:`~selfsup.weights.card.check_card`; nothing is written then.
        ConfigError: if the network cannot be built.
    """
    path, out, whole = Path(path), Path(out), method is not None
    with torch.device("meta"):
        model: Any = METHODS.build(dict(method)) if method is not None else BACKBONES.build(dict(architecture))
    state = read_weights(path, mapped=True)
    weights, report = find_weights(
        state, model, file=path, source=source, prefix=prefix, key=key, whole=whole, adapting=True
    )
    own = model.state_dict()
    weights |= {name: torch.zeros_like(own[name], device="cpu") for name in report.kept}  # counters and queues
    backbone = model.backbone if whole else model
    card = weights_card(
        architecture,
        backbone,
        input_contract=_input_of(path, backbone, source),
        recipe={"converted_from": path.name, "source": source} | ({"key": key} if key else {}),
        step=None,
        license="that of the file it was converted from",
    )
    check_card(out, card, source=path)
    if whole:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        Checkpoint(model=tensors, method=type(model).__name__, card=json.loads(json.dumps(card))).write(out)
        write_card(card, out)
    else:
        write_weights(weights, out, card)
    return report


def _input_of(path: Path, backbone: Any, source: str) -> InputContract:
    """How images must be shown to the weights: by the card of the file, or else as far as its source says."""
    card = read_card(path)
    if card is not None and isinstance(shown := card.get("preprocess"), Mapping):
        return InputContract.from_dict(shown)
    inside = source == "timm" and isinstance(backbone, Timm)
    mean, std = backbone.normalization if inside else SOURCES[source].normalization
    return UNKNOWN_INPUT if mean is None else InputContract(size=None, resize=None, mean=mean, std=std)
