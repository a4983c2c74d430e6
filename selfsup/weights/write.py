"""Files of weights and checkpoints, written whole or not at all."""

import contextlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import CheckpointError
from selfsup.ops.files import reason, remedy, settle, write_whole
from selfsup.weights.card import CARD_NOTE, card_path
from selfsup.weights.checkpoint import NAME, list_checkpoints


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` beside its final place, flush it to the disk and rename it.

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission); the partial file is removed, and whatever
            stood at ``path`` before is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save(state, file)
        settle(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if not NAME.fullmatch(path.name):
            raise CheckpointError(f"{path}: could not be written ({reason(error, path)})") from error
        older = list_checkpoints(path.parent.parent)
        kept = f"the newest complete one is {older[-1]}" if older else "there is no complete one before it"
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({reason(error, path)}); {kept}; "
            f"{remedy(error)} and run the same command with --resume"
        ) from error


def write_weights(weights: Mapping[str, Tensor], path: Path, card: Mapping[str, Any] | None = None) -> None:
    """Write a state dict and its card, as safetensors if ``path`` ends so, else as ``torch.save`` does.

    The card goes beside the weights as ``.json``, and into the file too, see
    :func:`~selfsup.weights.read.read_note`: files are copied without what is beside them.

    Raises:
        CheckpointError: if they cannot be written.
    """
    plain = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in weights.items())
    notes = {} if card is None else {CARD_NOTE: json.dumps(card)}
    if path.suffix == ".safetensors":
        _write_safetensors(plain, path, notes)
    else:
        vars(plain).update(notes)
        write_atomically(plain, path)
    if card is not None:
        write_card(card, path)


def write_card(card: Mapping[str, Any], path: Path) -> None:
    """Write a card beside the weights at ``path``, whole or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    beside = card_path(path)
    try:
        write_whole(beside, json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{beside}: could not be written ({reason(error, beside)})") from error


def _write_safetensors(weights: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise CheckpointError(f"{path}: writing it needs the package safetensors (pip install selfsup[eval])") from None
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, partial, metadata={"format": "pt", **metadata})
        partial.chmod(0o644)  # safetensors lets nobody else read it
        settle(partial, path)
    except Exception as error:  # safetensors wraps the system's errors in its own type
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the weights could not be written ({error})") from error
