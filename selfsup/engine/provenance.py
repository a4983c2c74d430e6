"""Where weights come from, and under which terms: what one run's card says of the weights that it began with."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsup.engine.card_file import read_card
from selfsup.engine.reading import read_weights
from selfsup.errors import CheckpointError

OWN = "yours"


def digest(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error


def recipe_of(name: str | None, method: str, started_from: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a card says of how weights were made.

    Args:
        name: the config's; None if it has none.
        method: the class that was trained.
        started_from: what the run began with, see :func:`origin`; None for random weights.
    """
    recipe: dict[str, Any] = {"config": name, "method": method}
    if started_from is not None:
        recipe["started_from"] = {key: value for key, value in started_from.items() if key != "licence"}
    return recipe


def licence_of(started_from: Mapping[str, Any] | None) -> str:
    """The terms of what a run has made: those of what it began with bind it, unless that was its owner's too."""
    if started_from is None:
        return OWN
    licence, file = started_from.get("licence"), started_from["file"]
    if licence is None:
        return f"{OWN}, within the terms of {file}"
    return licence if licence.startswith(OWN) else f"{OWN}, within the terms of {file}: {licence}"


def provenance(file: Path) -> dict[str, Any] | None:
    """What is known of a file of weights: ``recipe``, ``step`` and ``licence``; None if nothing is.

    Its card says it, and a checkpoint of ours by itself.

    Raises:
        CheckpointError: if the file or its card cannot be read.
    """
    known: Mapping[str, Any] | None = read_card(file)
    if known is None:
        state = read_weights(file, mapped=True)
        if "started_from" not in state:
            return None
        started_from = state["started_from"]
        recipe = recipe_of(state["recipe"], state["method"], started_from)
        known = {"recipe": recipe, "step": state["step"], "licence": licence_of(started_from)}
    return {key: known[key] for key in ("recipe", "step", "licence") if key in known}


def origin(file: str | Path) -> dict[str, Any]:
    """What a run that begins with a file of weights remembers of it: path, digest, and its provenance.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return {"file": str(file), "sha256": digest(Path(file)), **(provenance(Path(file)) or {})}
