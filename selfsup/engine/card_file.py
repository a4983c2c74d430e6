"""The card of a file of weights, beside it and inside: read, compared, and never written over anything else."""

import json
import os
from pathlib import Path
from typing import Any

from selfsup.engine.reading import read_note
from selfsup.errors import CheckpointError

CARD_NOTE = "selfsup"
"""Under which name a file of weights holds its card, as JSON."""


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
    """Refuse to write where something would be lost that was not written by us.

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
