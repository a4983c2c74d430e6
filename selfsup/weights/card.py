"""The card of a file of weights, beside it and inside: which network, which input, where it comes from.

Its keys: ``backbone`` (the dict that builds the network), ``out_dim``, ``parameters``, ``preprocess`` (how images must
be shown; None is unknown), ``recipe`` (what made the weights), ``step``, ``license``, ``versions``, and ``format``
where the file has another library's names.
"""

import contextlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import selfsup
from selfsup.data.input_contract import InputContract
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.checkpoint import Checkpoint, respelled
from selfsup.weights.digest import digest_of
from selfsup.weights.one_file import kind_of, read_metadata
from selfsup.weights.read import read_weights

CARD_NOTE = "selfsup"
"""Under which name a file of weights alone holds its card, as JSON."""
TRACED = {".onnx": "onnx", ".pt2": "torch-export"}
"""Files that hold a network itself, and their formats: their card lies beside them only."""
WITH_CARD = (".safetensors", ".pth", ".pt", *TRACED)
OWN = "yours"
_WITHIN = ", within the terms of "
UNKNOWN_INPUT = InputContract(
    size=None, resize=None, mean=None, std=None, value_range=None, channel_order=None, interpolation=None
)


def card_path(weights: Path) -> Path:
    """Where the card of a file is: ``a.json`` of weights ``a.safetensors``, ``a.onnx.json`` of a network ``a.onnx``."""
    return weights.with_name(f"{weights.name}.json") if weights.suffix in TRACED else weights.with_suffix(".json")


def read_card(weights: Path) -> dict[str, Any] | None:
    """The card of a file of weights: that beside it, or else that inside; None if there is none.

    Raises:
        CheckpointError: if the card, or the file where it is looked for, cannot be read.
    """
    return _beside(weights) or _inside(weights)


def _inside(weights: Path) -> dict[str, Any] | None:
    """A card in the metadata of safetensors, in a checkpoint, or an attribute of a plain state dict.

    Whoever loads the weights does not meet it; tensors stay in the file.
    """
    note: Any = None
    if weights.suffix in TRACED or not weights.is_file():
        return None
    kind = kind_of(weights)
    if kind == ".safetensors":
        note = read_metadata(weights).get(CARD_NOTE)
    elif kind == ".pth" and zipfile.is_zipfile(weights):
        state = read_weights(weights, mapped=True)
        if (checkpoint := Checkpoint.of(state, weights)) is not None:
            return _if_card(checkpoint.card)
        note = getattr(state, CARD_NOTE, None)
    return _parsed(note, weights, "holds a card that cannot be read") if isinstance(note, str) else None


def _beside(weights: Path) -> dict[str, Any] | None:
    path = _lies_at(weights)
    found = _parsed(path.read_bytes(), path, "not a readable card") if path.is_file() else None
    of_others = found is not None and path != card_path(weights) and found.get("format") != TRACED[weights.suffix]
    return None if of_others else found


def _lies_at(weights: Path) -> Path:
    """Where the card is looked for: traced files shared the name of weights' cards before they had one of their own."""
    path = card_path(weights)
    return path if weights.suffix not in TRACED or path.is_file() else weights.with_suffix(".json")


def _parsed(text: str | bytes, place: Path, otherwise: str) -> dict[str, Any] | None:
    try:
        return _if_card(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CheckpointError.at(str(place), f"{otherwise} ({error})") from None


def _if_card(found: Any) -> dict[str, Any] | None:
    """What was found, if it is a card."""
    return respelled(found) if isinstance(found, dict) and isinstance(found.get("backbone"), dict) else None


def check_card(out: Path, card: Mapping[str, Any], *, source: Path | None = None) -> None:
    """Reject to write a file of weights and its card over what is not ours, or over another file's card.

    Raises:
        CheckpointError: if ``out`` is the file that is read, or the card would replace a file that is no card or that
            says something else of another file.
    """
    beside, theirs = card_path(out), None
    if source is not None and out.exists() and os.path.samefile(out, source):
        raise CheckpointError.at(str(out), "is the file that is read", expected="choose another name")
    if not beside.exists():
        return
    with contextlib.suppress(CheckpointError):
        theirs = _beside(out)
    stems = (each for each in sorted(out.parent.glob("*")) if each.suffix in WITH_CARD and each.name != out.name)
    others = [each.name for each in stems if _lies_at(each) == beside]
    if theirs is None or (others and _said(theirs) != _said(card)):
        what = "is no card" if theirs is None else f"is the card of {others[0]} too"
        raise CheckpointError.at(str(beside), f"{what}, and {out.name} needs it", expected="choose another name")


def _said(card: Mapping[str, Any]) -> Any:
    """What a card says of the weights, as JSON brings it back."""
    return json.loads(json.dumps({key: value for key, value in card.items() if key != "versions"}))


def weights_card(
    architecture: Mapping[str, Any],
    backbone: nn.Module,
    *,
    input_contract: InputContract = UNKNOWN_INPUT,
    recipe: Mapping[str, Any],
    step: int | None,
    license: str,
) -> dict[str, Any]:
    """The card of a backbone's weights, as JSON holds it.

    Args:
        architecture: the backbone's dict; of eps, which loading weights may change, the card has what it is now.
        backbone: the network.
        input_contract: how images must be shown to it, as far as that is known.
        recipe: what made the weights.
        step: optimizer updates they were trained for; None if unknown.
        license: under which terms they are.
    """
    described = {**architecture, "type": _name(architecture["type"])}
    if hasattr(backbone, "set_eps"):
        described["eps"] = backbone.eps
    shown = input_contract.to_dict()
    for name in ("mean", "std"):
        shown[name] = shown[name] and [round(float(value), 6) for value in shown[name]]
    return {
        "backbone": described,
        "out_dim": backbone.out_dim,
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "preprocess": shown,
        "recipe": dict(recipe),
        "step": step,
        "license": license,
        "versions": {"selfsup": selfsup.__version__, "torch": str(torch.__version__)},
    }


def _name(kind: Any) -> str:
    """What a config may call the class of a backbone."""
    if isinstance(kind, str):
        return kind
    registered = BACKBONES.get(kind.__name__) is kind
    return kind.__name__ if registered else f"{kind.__module__}.{kind.__qualname__}"


def made_by(
    name: str | None, method: str, started_from: Mapping[str, Any] | None, taught_by: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What a card says of how weights were made, and under which terms they are: ``recipe`` and ``license``."""
    began = [] if started_from is None else [started_from]
    first, teachers = (
        [{key: value for key, value in weights.items() if key != "license"} for weights in used]
        for used in (began, taught_by)
    )
    recipe: dict[str, Any] = {"config": name, "method": method}
    recipe |= {"started_from": first[0]} if first else {}
    recipe |= {"taught_by": teachers} if teachers else {}
    return {"recipe": recipe, "license": license_of([*began, *taught_by])}


def license_of(used: Iterable[Mapping[str, Any]]) -> str:
    """The terms of what a run has made: those of the weights that it used bind it, unless they were its owner's too."""
    terms: dict[str, None] = {}
    for weights in used:
        license = weights.get("license")
        if license is None or not license.startswith(OWN):
            terms[str(weights["file"]) + (f": {license}" if license else "")] = None
        elif license != OWN:
            terms[license.removeprefix(OWN + _WITHIN)] = None
    return f"{OWN}{_WITHIN}{' and of '.join(terms)}" if terms else OWN


def provenance(file: Path) -> dict[str, Any] | None:
    """What is known of a file of weights: ``recipe``, ``step`` and ``license``; None if nothing is.

    Its card says it, and a checkpoint of ours by itself.

    Raises:
        CheckpointError: if the file or its card cannot be read.
    """
    known: Mapping[str, Any] | None = read_card(file)
    if known is None:
        checkpoint = Checkpoint.of(read_weights(file, mapped=True), file)
        if checkpoint is None or checkpoint.method is None:
            return None
        made = made_by(checkpoint.recipe, checkpoint.method, checkpoint.started_from, checkpoint.trained)
        known = {**made, "step": checkpoint.step}
    return {key: known[key] for key in ("recipe", "step", "license") if key in known}


def origin(file: str | Path) -> dict[str, Any]:
    """What a run that uses a file of weights remembers of it: path, digest, and its provenance.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return {"file": str(file), "sha256": digest_of(Path(file)), **(provenance(Path(file)) or {})}
