"""The card of a file of weights, beside it and inside: read, compared, and never written over anything else."""

import contextlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import selfsup
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.read import read_note

CARD_NOTE = "selfsup"
"""Under which name a file of weights holds its card, as JSON."""
WITHOUT_NOTE = (".onnx", ".pt2")
"""Files that have their card beside them only."""
WITH_CARD = (".safetensors", ".pth", ".pt", *WITHOUT_NOTE)


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
    note = read_note(weights, CARD_NOTE)
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
    return found if isinstance(found, dict) and isinstance(found.get("backbone"), dict) else None


def check_place(out: Path, *, source: Path) -> None:
    """Reject to write where something would be lost that was not written by us.

    Args:
        out: the file of weights to write; its card goes beside it.
        source: the file that the weights come from.

    Raises:
        CheckpointError: if ``out`` is that file, or the card would replace a file that is no card.
    """
    if out.exists() and source.exists() and os.path.samefile(out, source):
        raise CheckpointError(f"{out}: is the file that is read; choose another name")
    beside = card_path(out)
    try:
        foreign = beside.exists() and _beside(out) is None
    except CheckpointError:
        foreign = True
    if foreign:
        raise CheckpointError(
            f"{beside}: is in the way of the card of {out.name} and no card itself; choose another name, or move it "
            "away"
        )


def check_card(out: Path, card: Mapping[str, Any], *, source: Path | None = None) -> None:
    """Reject to write a card that another file of weights, which differs in its suffix alone, would have too.

    Args:
        out: the file of weights to write.
        card: what is to lie beside it.
        source: the file that the weights come from, if what lies beside it may be of an earlier ``out`` alone.

    Raises:
        CheckpointError: if it says something else than the card that the other file has.
    """
    wanted = _said(card)
    for other in _namesakes(out):
        theirs = _card_of_its_own(other, out, source)
        if theirs is not None and _said(theirs) != wanted:
            raise CheckpointError(
                f"{card_path(out)}: is where the card of {other.name} is too, and that of {out.name} would say "
                f"something else; choose another name, such as {_free(out)}"
            )


def _namesakes(out: Path) -> list[Path]:
    """Other files of weights with the same place for a card."""
    if not out.parent.is_dir():
        return []
    return sorted(
        path
        for path in out.parent.iterdir()
        if path.suffix in WITH_CARD and path.name != out.name and card_path(path) == card_path(out) and path.is_file()
    )


def _card_of_its_own(other: Path, out: Path, source: Path | None) -> dict[str, Any] | None:
    """The card that belongs to a file; None if the one beside it is of ``out`` alone, as far as can be told."""
    inside = None
    if other.suffix not in WITHOUT_NOTE:
        with contextlib.suppress(CheckpointError):  # somebody else's
            inside = _inside(other)
        if inside is None and (out.exists() or (source is not None and os.path.samefile(other, source))):
            return None
    return _beside(out) or inside


def _said(card: Mapping[str, Any]) -> Any:
    """What a card says of the weights, as JSON brings it back."""
    return json.loads(json.dumps({key: value for key, value in card.items() if key != "versions"}))


def _free(out: Path) -> Path:
    """A similar name, under which there is neither weights nor card."""
    names = (out.with_name(f"{out.stem}_{number}{out.suffix}") for number in itertools.count(2))
    return next(name for name in names if not (name.exists() or card_path(name).exists() or _namesakes(name)))


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
        step: optimizer updates they were trained for; None if unknown.
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


def _name(kind: Any) -> str:
    """What a config may call the class of a backbone."""
    if isinstance(kind, str):
        return kind
    registered = BACKBONES.get(kind.__name__) is kind
    return kind.__name__ if registered else f"{kind.__module__}.{kind.__qualname__}"


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(float(value), 6) for value in values]
