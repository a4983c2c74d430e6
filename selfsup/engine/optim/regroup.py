"""A saved optimizer, whose parameters PyTorch knows by number alone, for one that sorts them into other groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.errors import CheckpointError

_SHOWN = 3


def regrouped(state: Mapping[str, Any], names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The state of an optimizer for one with other groups, each parameter with its own; ``state`` is not changed.

    A group whose members were in several ones has the options of its first member's.

    Args:
        state: an optimizer's ``state`` and ``param_groups``.
        names: of its parameters, in the order of their numbers.
        groups: names of the parameters in each group of the other optimizer.

    Raises:
        CheckpointError: if the two have not the same parameters.
    """
    order = [name for group in groups for name in group]
    saved, own = set(names), set(order)
    missing = [name for name in order if name not in saved]
    unexpected = [name for name in names if name not in own]
    problems = [
        f"{len(found)} {what}: {', '.join(found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''}"
        for what, found in (("missing", missing), ("unexpected", unexpected))
        if found
    ]
    if problems:
        raise CheckpointError(
            f"optim_wrapper: the saved optimizer is not of the parameters that are trained now; {'; '.join(problems)}; "
            "train the same ones, or start a new run from the weights with --init-from"
        )
    before = {name: number for number, name in enumerate(names)}
    now = {name: number for number, name in enumerate(order)}
    options = {number: group for group in state["param_groups"] for number in group["params"]}
    return {
        "state": {now[name]: state["state"][before[name]] for name in order if before[name] in state["state"]},
        "param_groups": [{**options[before[group[0]]], "params": [now[name] for name in group]} for group in groups],
    }


def same_groups(state: Mapping[str, Any], names: Sequence[str], groups: Sequence[Sequence[str]]) -> bool:
    """Whether the parameters of a saved optimizer are sorted into groups as these are."""
    saved = [[names[number] for number in group["params"]] for group in state["param_groups"]]
    return saved == [list(group) for group in groups]
