"""``--init-from timm:NAME``: weights of timm's as a file that a run can start from."""

import os
import tempfile
from pathlib import Path
from typing import Any

from selfsup.config import load_config
from selfsup.errors import CheckpointError
from selfsup.evaluation.opening import TIMM, pretrained_timm
from selfsup.weights.card import weights_card
from selfsup.weights.write import write_weights

GENTLE = 0.1
"""Of the recipe's learning rate, which is made for weights that have learned nothing."""


def timm_start(spec: str, *, recipe: str | None) -> tuple[dict[str, Any], str, list[str]]:
    """Fetch weights and keep them with their card, so that the run's own card can say where they come from.

    Args:
        spec: ``timm:NAME``.
        recipe: the name of a recipe that was chosen, which takes over network, normalization and size, with a tenth of
            its learning rate; None for a config of the user's, which must have the network itself.

    Returns:
        Changes to the config by path, the file, and what to tell.

    Raises:
        CheckpointError: if the weights cannot be had.
    """
    name = spec.removeprefix(TIMM)
    found = pretrained_timm(name)
    contract = found.input_contract
    assert contract.mean is not None and contract.std is not None
    card = weights_card(
        {"type": "Timm", "name": name},
        found.backbone,
        input_contract=contract,
        recipe={"config": spec, "method": "pretrained weights of timm"},
        step=None,
        license=found.license or "unknown: see timm's page of the weights",
    )
    file = _write(found.backbone.state_dict(), f"{name}.pth", card)
    options: dict[str, Any] = {}
    if recipe is not None:
        lr = load_config(recipe).optim_wrapper["optimizer"]["lr"]
        options = {
            "optim_wrapper.optimizer.lr": GENTLE * lr,
            "model.backbone": {"type": "Timm", "name": name},
            "model.preprocess": {"mean": contract.mean, "std": contract.std},
        }
        if found.fixed_size:
            options["train_dataloader.views.size"] = contract.size
    return options, str(file), [f"starting from timm's weights {name} (license: {card['license']}), kept as {file}"]


def _write(weights: Any, name: str, card: dict[str, Any]) -> Path:
    """Into the user's cache or, where that cannot be written, a temporary folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "selfsup", "timm")
    for folder in (cache, Path(tempfile.gettempdir(), "selfsup_timm")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_weights(weights, folder / name, card)
        except (CheckpointError, OSError):
            continue
        return folder / name
    raise CheckpointError(f"{cache / name}: cannot be written")
