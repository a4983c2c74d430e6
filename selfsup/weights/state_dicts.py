"""The state dicts in what a training script has saved: which one is taken, and which stand beside it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from selfsup.errors import CheckpointError, did_you_mean

Weights = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model", "model_state_dict", "online_network_state_dict")
_NO_WEIGHTS = re.compile(r"(?:.*_)?(?:optim|optimi[sz]ers?|amp|(?:grad)?scalers?|schedulers?)(?:_.*)?", re.IGNORECASE)
"""What changes the weights in training: its state may be tensors by their names."""


@dataclass(frozen=True)
class Choice:
    """Which state dict of a file was taken.

    Args:
        taken: the names under which the tensors that were taken stand in the file; empty if they stand there by
            themselves.
        beside: the other state dicts by such names, a dot between the names of dicts that lie in one another.
    """

    taken: tuple[str, ...] = ()
    beside: Mapping[str, Weights] = field(default_factory=dict)

    def aside(self) -> dict[str, list[str]]:
        """The names of the tensors that stand beside, by where they are and how to have them."""
        than = f" beside {' and '.join(self.taken)}" if self.taken else ""
        return {f"{key}{than} (key={key!r} takes it)": list(tensors) for key, tensors in self.beside.items()}

    def __str__(self) -> str:
        names = [*self.taken, *self.beside]
        if len(names) == 1:
            return f"it holds a state dict under {names[0]!r}, which key={names[0]!r} takes"
        return f"it holds {', '.join(names)}; name one with key="


def unwrapped(state: Mapping[str, Any]) -> Weights:
    """The tensors of a state dict, whatever the training script wrapped it into."""
    for wrapper in _WRAPPERS:
        inside = state.get(wrapper)
        if isinstance(inside, Mapping) and any(isinstance(value, Tensor) for value in inside.values()):
            return named(inside)
    return named(state)


def named(held: Mapping[Any, Any]) -> Weights:
    """The tensors that a dict holds by name."""
    return {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)}


def under_key(state: Mapping[str, Any], key: str) -> Weights:
    """The state dict that stands under a name.

    Args:
        state: what a file holds.
        key: the name, with a dot between the names of dicts that lie in one another.

    Raises:
        CheckpointError: if there is none.
    """
    found = _state_dicts(state)
    if key not in found:
        way = did_you_mean(key, found) or "; its tensors stand under no key" * bool(named(state))
        raise CheckpointError(f"no state dict stands under key={key!r}{way}")
    return found[key]


def choice(state: Mapping[str, Any], taken: Weights) -> Choice:
    """Which of a file's state dicts have been taken.

    Those beside have tensors that are named by the path of a module; other dicts of tensors are no weights.

    Args:
        state: what the file holds.
        taken: the tensors that were found in it, under whatever names.
    """
    used = {id(tensor) for tensor in taken.values()}
    whole, beside = [], {}
    for key, tensors in _state_dicts(state).items():
        if all(id(tensor) in used for tensor in tensors.values()):
            whole.append(key)
        elif any("." in name for name in tensors):
            beside[key] = tensors
    return Choice(tuple(whole), beside)


def _state_dicts(state: Mapping[str, Any]) -> dict[str, Weights]:
    """The dicts that hold tensors by name, however deep, by where they are; without those of optimizers."""
    found: dict[str, Weights] = {}
    waiting: list[tuple[str, Mapping[Any, Any]]] = [("", state)]
    seen = {id(state)}  # a dict may hold itself
    for path, held in waiting:
        for name, value in held.items():
            if not isinstance(name, str) or not isinstance(value, Mapping) or _NO_WEIGHTS.fullmatch(name):
                continue
            if tensors := named(value):
                found[path + name] = tensors
            if id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{path}{name}.", value))
    return found
