"""A saved optimizer, whose parameters PyTorch knows by number alone, for one that sorts them into other groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.errors import CheckpointError

_SHOWN = 3


def regrouped(state: Mapping[str, Any], names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The state of an optimizer with each parameter's part at the number it has among other groups.

    A group whose members came from several ones has the options of its first member's; whoever loads it gives it its
    own.

    Args:
        state: an optimizer's ``state`` and ``param_groups``; not changed.
        names: of its parameters, in the order of their numbers.
        groups: names of the parameters in each group of the optimizer that takes it over.

    Returns:
        ``state`` and ``param_groups`` for that optimizer.

    Raises:
        CheckpointError: if the two have not the same parameters.
    """
    _check_same(names, [name for group in groups for name in group])
    before = {name: number for number, name in enumerate(names)}
    options = {number: group for group in state["param_groups"] for number in group["params"]}
    mapped: dict[int, Any] = {}
    sorted_anew: list[dict[str, Any]] = []
    count = 0
    for group in groups:
        numbers = range(count, count + len(group))
        count += len(group)
        sorted_anew.append({**options[before[group[0]]], "params": list(numbers)})
        for number, name in zip(numbers, group, strict=True):
            if before[name] in state["state"]:
                mapped[number] = state["state"][before[name]]
    return {"state": mapped, "param_groups": sorted_anew}


def same_groups(state: Mapping[str, Any], names: Sequence[str], groups: Sequence[Sequence[str]]) -> bool:
    """Whether the parameters of a saved optimizer are sorted into groups as these are."""
    saved = [[names[number] for number in group["params"]] for group in state["param_groups"]]
    return saved == [list(group) for group in groups]


def _check_same(saved: Sequence[str], own: Sequence[str]) -> None:
    of_saved, of_own = set(saved), set(own)
    missing = [name for name in own if name not in of_saved]
    left_over = [name for name in saved if name not in of_own]
    problems = [
        f"{len(found)} {what}: {', '.join(found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''}"
        for what, found in (("missing", missing), ("left over", left_over))
        if found
    ]
    if problems:
        raise CheckpointError(
            f"optim_wrapper: the saved optimizer is not of the parameters that are trained now; {'; '.join(problems)}; "
            "train the same ones, or start a new run from the weights with --init-from"
        )
