"""Files of weights with their cards, written whole or not at all."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from selfsup.errors import CheckpointError
from selfsup.ops.files import whole_file, write_whole
from selfsup.weights.card import CARD_NOTE, card_path
from selfsup.weights.checkpoint import save, unwritable


def write_weights(weights: Mapping[str, Tensor], path: Path, card: Mapping[str, Any] | None = None) -> None:
    """Write a state dict and its card, as safetensors if ``path`` ends so, else as ``torch.save`` does.

    The card goes beside the weights as ``.json``, and into the file too, see :func:`~selfsup.weights.card.read_card`:
    files are copied without what is beside them.

    Raises:
        CheckpointError: if they cannot be written.
    """
    plain = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in weights.items())
    notes = {} if card is None else {CARD_NOTE: json.dumps(card)}
    try:
        if path.suffix == ".safetensors":
            _write_safetensors(plain, path, notes)
        else:
            vars(plain).update(notes)
            save(plain, path)
    except (OSError, RuntimeError) as error:
        raise unwritable(path, error) from error
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
        raise unwritable(beside, error) from error


def _write_safetensors(weights: dict[str, Tensor], path: Path, notes: dict[str, str]) -> None:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ImportError:
        raise CheckpointError.at(str(path), "needs the package safetensors (pip install selfsup[eval])") from None
    with whole_file(path) as partial:
        try:
            save_file(weights, partial, metadata={"format": "pt", **notes})
        except SafetensorError as error:  # wraps the system's errors
            raise OSError(str(error)) from error
        partial.chmod(0o644)  # safetensors lets nobody else read it
