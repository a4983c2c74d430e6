"""What somebody needs to know who finds a file of weights: which network, which input, where it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.config import Recipe
from selfsup.engine.evaluate import run_contract
from selfsup.methods.base import Method
from selfsup.ops.parts import class_name
from selfsup.registry import TRANSFORMS
from selfsup.weights.card import made_by, weights_card


def run_card(
    recipe: Recipe,
    method: Method,
    *,
    step: int | None,
    started_from: Mapping[str, Any] | None = None,
    taught_by: Sequence[Mapping[str, Any]] = (),
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of what a run has trained.

    Args:
        recipe: of the run.
        method: what it trains.
        step: optimizer updates done; None if the file does not say.
        started_from: the weights that the run began with, see :func:`~selfsup.weights.card.origin`.
        taught_by: the same of the networks that taught it, such as a distillation's teacher.
        earlier: the provenance of the file that the weights are from, which knows better where they come from.
    """
    made = made_by(recipe.recipe, class_name(method), started_from, taught_by)
    return weights_card(
        recipe.model["backbone"],
        method.representation,
        input_contract=run_contract(recipe.input_contract, method, TRANSFORMS.build(recipe.train_dataloader.views)),
        **{**made, "step": step, **(earlier or {})},
    )
