"""The state dicts in what a training script has saved: which one is taken, and which others there are."""

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
    """Which state dict of a file was taken, and which others there are, by key."""

    taken: tuple[str, ...] = ()
    others: Mapping[str, Weights] = field(default_factory=dict)

    def ignored(self) -> dict[str, list[str]]:
        """The names of the other tensors, by where they are and how to have them."""
        than = f" beside {' and '.join(self.taken)}" if self.taken else ""
        return {f"{key}{than} (key={key!r} takes it)": list(tensors) for key, tensors in self.others.items()}

    def __str__(self) -> str:
        keys = [*self.taken, *self.others]
        if len(keys) == 1:
            return f"it holds a state dict under {keys[0]!r}, which key={keys[0]!r} takes"
        return f"it holds {', '.join(keys)}; name one with key="


def unwrapped(state: Mapping[str, Any]) -> Weights:
    """The tensors of a state dict, whatever the training script wrapped it into."""
    return next((inside for wrapper in _WRAPPERS if (inside := named(state.get(wrapper)))), None) or named(state)


def named(held: Any) -> Weights:
    """The tensors that something holds by name; none if it is no dict."""
    if not isinstance(held, Mapping):
        return {}
    return {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)}


def under_key(state: Mapping[str, Any], key: str) -> Weights:
    """The state dict that stands under a key, with a dot between the keys of dicts that lie in one another.

    Raises:
        CheckpointError: if there is none.
    """
    found = _state_dicts(state)
    if key not in found:
        right = did_you_mean(key, found) or "; its tensors stand under no key" * bool(named(state))
        raise CheckpointError(f"no state dict stands under key={key!r}{right}")
    return found[key]


def choice(state: Mapping[str, Any], taken: Weights) -> Choice:
    """Which of a file's state dicts have been taken.

    The others have tensors that are named by the path of a module; other dicts of tensors are no weights.
    """
    used = {id(tensor) for tensor in taken.values()}
    whole, others = [], {}
    for key, tensors in _state_dicts(state).items():
        if all(id(tensor) in used for tensor in tensors.values()):
            whole.append(key)
        elif any("." in name for name in tensors):
            others[key] = tensors
    return Choice(tuple(whole), others)


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
