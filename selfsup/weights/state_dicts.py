"""The state dicts in what a training script has saved: which one is taken, and which others there are."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfsup.errors import CheckpointError, nearest

Weights = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model", "model_state_dict", "online_network_state_dict")
_NO_WEIGHTS = re.compile(r"(?:.*_)?(?:optim|optimi[sz]ers?|amp|(?:grad)?scalers?|schedulers?)(?:_.*)?", re.IGNORECASE)
"""What changes the weights in training: its state may be tensors by their names."""


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
        raise CheckpointError.at("", "no state dict stands under the key", got=key, expected=nearest(key, found))
    return found[key]


def others(state: Mapping[str, Any], taken: Weights) -> dict[str, Weights]:
    """The state dicts of a file that have not been taken, by key.

    Their tensors are named by the path of a module; other dicts of tensors are no weights.
    """
    used = {id(tensor) for tensor in taken.values()}
    return {
        key: tensors
        for key, tensors in _state_dicts(state).items()
        if any("." in name for name in tensors) and any(id(tensor) not in used for tensor in tensors.values())
    }


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
