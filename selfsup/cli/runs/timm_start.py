"""``--init-from timm:NAME``: weights of timm's as a file that a run can start from."""

from typing import Any

from selfsup.config import load_config
from selfsup.evaluation.opening import TIMM, kept_timm
from selfsup.weights.card import read_card

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
    file, found = kept_timm(name)
    contract = found.input_contract
    license = (read_card(file) or {})["license"]
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
    return options, str(file), [f"starting from timm's weights {name} (license: {license}), kept as {file}"]
