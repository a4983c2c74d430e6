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
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.digest import digest_of
from selfsup.weights.read import read_metadata, read_weights

CARD_NOTE = "selfsup"
"""Under which name a file of weights alone holds its card, as JSON."""
WITHOUT_NOTE = (".onnx", ".pt2")
"""Files that have their card beside them only."""
WITH_CARD = (".safetensors", ".pth", ".pt", *WITHOUT_NOTE)
OWN = "yours"
_WITHIN = ", within the terms of "
_USUAL_VALUES: dict[str, Any] = {"value_range": (0.0, 1.0), "channel_order": "rgb", "interpolation": "bilinear"}
_NO_VALUES: dict[str, Any] = {"mean": None, "std": None, **dict.fromkeys(_USUAL_VALUES)}
_UNKNOWN = InputContract(size=None, resize=None, **_NO_VALUES)


def card_path(weights: Path) -> Path:
    """Where the card of a file of weights is."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> dict[str, Any] | None:
    """The card of a file of weights: that beside it, or else that inside; None if there is none.

    Raises:
        CheckpointError: if the card, or the file where it is looked for, cannot be read.
    """
    if (card := _beside(weights)) is not None:
        return card
    return _inside(weights)


def _inside(weights: Path) -> dict[str, Any] | None:
    """A card in the metadata of safetensors, in a checkpoint, or an attribute of a plain state dict.

    Whoever loads the weights does not meet it; tensors stay in the file.
    """
    note: Any = None
    if weights.suffix == ".safetensors":
        note = read_metadata(weights).get(CARD_NOTE)
    elif weights.suffix != ".npz" and zipfile.is_zipfile(weights):
        state = read_weights(weights, mapped=True)
        if (checkpoint := Checkpoint.of(state, weights)) is not None:
            return _if_card(checkpoint.card)
        note = getattr(state, CARD_NOTE, None)
    try:
        return _if_card(json.loads(note)) if isinstance(note, str) else None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{weights}: holds a card that cannot be read ({error}); put a good one beside it, as "
            f"{card_path(weights).name}"
        ) from None


def _beside(weights: Path) -> dict[str, Any] | None:
    path = card_path(weights)
    if not path.is_file():
        return None
    try:
        return _if_card(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable card ({error}); move it away to do without") from None


def _if_card(found: Any) -> dict[str, Any] | None:
    """What was found, if it is a card; earlier versions spelled ``license`` otherwise."""
    if not (isinstance(found, dict) and isinstance(found.get("backbone"), dict)):
        return None
    return {"license" if key == "licence" else key: value for key, value in found.items()}


def check_place(out: Path, *, source: Path) -> None:
    """Reject to write a file of weights and its card over something that was not written by us.

    Raises:
        CheckpointError: if ``out`` is that file, or the card would replace a file that is no card.
    """
    if out.exists() and source.exists() and os.path.samefile(out, source):
        raise CheckpointError(f"{out}: is the file that is read; choose another name")
    beside = card_path(out)
    with contextlib.suppress(CheckpointError):
        if not beside.exists() or _beside(out) is not None:
            return
    raise CheckpointError(f"{beside}: the card of {out.name} would replace it, and it is no card; choose another name")


def check_card(out: Path, card: Mapping[str, Any], *, source: Path | None = None) -> None:
    """Reject to write a card that another file of weights, which differs in its suffix alone, would have too.

    Raises:
        CheckpointError: if it says something else than the card that the other file has.
    """
    if not out.parent.is_dir():
        return
    for other in sorted(out.parent.iterdir()):
        if other.suffix not in WITH_CARD or other.name == out.name or card_path(other) != card_path(out):
            continue
        inside = None
        if other.suffix not in WITHOUT_NOTE:
            with contextlib.suppress(CheckpointError):  # somebody else's
                inside = _inside(other)
            if inside is None and (out.exists() or (source is not None and os.path.samefile(other, source))):
                continue  # the card that lies there is of an earlier ``out``
        theirs = _beside(out) or inside
        if theirs is not None and _said(theirs) != _said(card):
            raise CheckpointError(
                f"{card_path(out)}: is where the card of {other.name} is too, and that of {out.name} would say "
                "something else; choose another name"
            )


def _said(card: Mapping[str, Any]) -> Any:
    """What a card says of the weights, as JSON brings it back."""
    return json.loads(json.dumps({key: value for key, value in card.items() if key != "versions"}))


def weights_card(
    architecture: Mapping[str, Any],
    backbone: nn.Module,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    size: int | None,
    recipe: Mapping[str, Any],
    step: int | None,
    license: str,
    stated: Mapping[str, Any] | None = None,
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
        step: optimizer updates they were trained for; None if unknown.
        license: under which terms they are.
        stated: fields of the input contract that are known better than by ``mean``, ``std`` and ``size``.
    """
    shown = _UNKNOWN if size is None else InputContract.for_side(size, **_NO_VALUES)
    if mean is not None:
        shown = shown.replace(**_USUAL_VALUES, mean=_rounded(mean), std=_rounded(std))
    described = {**architecture, "type": _name(architecture["type"])}
    if hasattr(backbone, "set_eps"):
        described["eps"] = backbone.eps
    return {
        "backbone": described,
        "out_dim": backbone.out_dim,
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "preprocess": shown.replace(**(stated or {})).to_dict(),
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


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(float(value), 6) for value in values]


def made_by(
    name: str | None, method: str, started_from: Mapping[str, Any] | None, taught_by: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What a card says of how weights were made, and under which terms they are: ``recipe`` and ``license``."""
    recipe: dict[str, Any] = {"config": name, "method": method}
    if started_from is not None:
        recipe["started_from"] = _without_license(started_from)
    if taught_by:
        recipe["taught_by"] = [_without_license(teacher) for teacher in taught_by]
    used = [*([] if started_from is None else [started_from]), *taught_by]
    return {"recipe": recipe, "license": license_of(used)}


def license_of(used: Iterable[Mapping[str, Any]]) -> str:
    """The terms of what a run has made: those of the weights that it used bind it, unless they were its owner's too."""
    terms: dict[str, None] = {}
    for weights in used:
        license, file = weights.get("license"), weights["file"]
        if license is None:
            terms[str(file)] = None
        elif not license.startswith(OWN):
            terms[f"{file}: {license}"] = None
        elif license != OWN:
            terms[license.removeprefix(OWN).removeprefix(_WITHIN)] = None
    return f"{OWN}{_WITHIN}{' and of '.join(terms)}" if terms else OWN


def _without_license(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in weights.items() if key != "license"}


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
