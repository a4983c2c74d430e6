"""Where weights come from, and under which terms: what one run's card says of the weights that it used."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.errors import CheckpointError
from selfsup.weights.card import read_card
from selfsup.weights.read import read_weights

OWN = "yours"
_WITHIN = ", within the terms of "


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


def made_by(
    name: str | None, method: str, started_from: Mapping[str, Any] | None, taught_by: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What a card says of how weights were made, and under which terms they are: ``recipe`` and ``licence``.

    Args:
        name: the config's; None if it has none.
        method: the class that was trained.
        started_from: what the run began with, see :func:`origin`; None for random weights.
        taught_by: the same of each network that was trained already and taught this one.
    """
    recipe: dict[str, Any] = {"config": name, "method": method}
    if started_from is not None:
        recipe["started_from"] = _without_licence(started_from)
    if taught_by:
        recipe["taught_by"] = [_without_licence(teacher) for teacher in taught_by]
    used = [*([] if started_from is None else [started_from]), *taught_by]
    return {"recipe": recipe, "licence": licence_of(used)}


def licence_of(used: Iterable[Mapping[str, Any]]) -> str:
    """The terms of what a run has made: those of the weights that it used bind it, unless they were its owner's too.

    Args:
        used: what is known of each file of weights, see :func:`origin`.
    """
    terms = dict.fromkeys(term for weights in used if (term := _terms(weights)))
    return f"{OWN}{_WITHIN}{' and of '.join(terms)}" if terms else OWN


def _terms(weights: Mapping[str, Any]) -> str:
    licence, file = weights.get("licence"), weights["file"]
    if licence is None:
        return str(file)
    return licence.removeprefix(OWN).removeprefix(_WITHIN) if licence.startswith(OWN) else f"{file}: {licence}"


def _without_licence(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in weights.items() if key != "licence"}


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
        made = made_by(state["recipe"], state["method"], state["started_from"], state.get("trained", ()))
        known = {**made, "step": state["step"]}
    return {key: known[key] for key in ("recipe", "step", "licence") if key in known}


def origin(file: str | Path) -> dict[str, Any]:
    """What a run that uses a file of weights remembers of it: path, digest, and its provenance.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return {"file": str(file), "sha256": digest(Path(file)), **(provenance(Path(file)) or {})}
