"""Whether weights fit a network where no tensor shows it: attention heads, pooling, groups, eps.

Names and shapes show most of an architecture. The rest is stated by the card of a file, by the config in a checkpoint,
or by what its source always writes; a network must agree with it. Without a statement shapes decide alone.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.config.signatures import signature_of
from selfsup.errors import CheckpointError, RegistryError
from selfsup.ops.parts import class_of
from selfsup.registry import BACKBONES
from selfsup.weights.card import card_path, read_card
from selfsup.weights.load_report import shown
from selfsup.weights.rules.sources import SOURCES

FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Arguments by which timm gets weights from elsewhere: not wanted here, and a card must not say what is opened."""

ADAPTABLE = ("eps",)
"""Settings that a network may take over from weights, see :func:`selfsup.weights.rules.bit.adapt`."""

_CLASS = re.compile(r"<class '([\w.]+)'>")


@dataclass(frozen=True)
class _Statement:
    """What somebody says of the network that weights belong to."""

    by: str  # whom, for messages
    described: Mapping[str, Any]  # as a backbone's dict, as far as it is stated
    settings: Mapping[str, Any]  # what of it no tensor shows
    whole: bool  # whether that is all that could be said of the network at hand


def check_settings(
    file: str | Path,
    backbone: nn.Module,
    *,
    config: Mapping[str, Any] | None = None,
    source: str = "selfsup",
    adapting: bool = False,
) -> dict[str, Any]:
    """Reject weights that are stated to belong to a network that computes something else.

    Args:
        file: the weights.
        backbone: what is to receive them.
        config: the one in the file, if it is a checkpoint of ours.
        source: who wrote them, a key of :data:`selfsup.weights.rules.sources.SOURCES`.
        adapting: let settings differ that the network can take over.

    Returns:
        Those settings of the weights' network, whether they differ or not.

    Raises:
        CheckpointError: if an argument that no tensor shows is another, or the network that the file describes cannot
            be built to be compared.
    """
    kind = class_of(backbone)
    statement = _statement(Path(file), config, kind, source)
    if statement is None:
        return {}
    theirs, own = statement.settings, _settings(kind, backbone)
    names = [*theirs, *(name for name in own if name not in theirs)]
    if not statement.whole:
        names = [name for name in theirs if name in own]
    adaptable = [name for name in ADAPTABLE if adapting and name in theirs and hasattr(backbone, f"set_{name}")]
    different = [name for name in names if name not in adaptable and theirs.get(name) != own.get(name)]
    if different:
        raise CheckpointError(f"{file}: {_difference(statement, own, different, kind)}")
    return {name: theirs[name] for name in adaptable}


def without_fetching(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's dict without the arguments by which timm gets weights from elsewhere."""
    arguments = architecture.get("model_args")
    if not isinstance(arguments, Mapping):
        return dict(architecture)
    return {**architecture, "model_args": {key: item for key, item in arguments.items() if key not in FETCHING}}


def _statement(file: Path, config: Mapping[str, Any] | None, kind: type, source: str) -> _Statement | None:
    """What is said of the weights' network, if it is related to one of the kind at hand; a file knows best."""
    card = read_card(file)
    described = card["backbone"] if card is not None else _in_config(config)
    by = "the config in it" if card is None else "its card"
    component = _component(described.get("type"), kind) if described is not None else None
    if described is not None and component is not None and (issubclass(component, kind) or issubclass(kind, component)):
        settings = _settings(component, _as_described(file, described, component, by))
        return _Statement(by, described, settings, whole=component is kind)
    stated = SOURCES[source].network
    component = _component(stated.get("type"), kind)
    if component is None or not issubclass(kind, component):
        return None
    settings = {name: value for name, value in stated.items() if name != "type"}
    return _Statement(f"source={source!r}", settings, settings, whole=False)


def _in_config(config: Any) -> Mapping[str, Any] | None:
    """The backbone's dict of the config in a training checkpoint."""
    for key in ("model", "backbone"):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else None


def _component(name: Any, kind: type) -> type | None:
    """The class that a file calls so, perhaps the one at hand; None if it is not known here."""
    if not isinstance(name, str):
        return None
    name = _CLASS.sub(r"\1", name)  # as the config in a checkpoint shows a class
    if name == f"{kind.__module__}.{kind.__qualname__}":
        return kind
    with contextlib.suppress(RegistryError):
        found = BACKBONES.find(name.rpartition(".")[2])
        if isinstance(found, type) and ("." not in name or f"{found.__module__}.{found.__qualname__}" == name):
            return found
    return None


def _as_described(file: Path, described: Mapping[str, Any], component: type, by: str) -> nn.Module | None:
    """The network of a backbone's dict, without memory, if its class says anything."""
    if not hasattr(component, "not_in_weights"):
        return None
    arguments = {name: value for name, value in without_fetching(described).items() if name != "type"}
    try:
        with torch.device("meta"):
            return BACKBONES.build({"type": component, **arguments})
    except Exception as error:  # the arguments may be of another version, and the class somebody else's
        raise CheckpointError(
            f"{file}: the network that {by} describes cannot be built here ({type(error).__name__}: {error}), so "
            f"nothing shows whether it is this one; put a card of what it is beside it, as {card_path(file).name}"
        ) from None


def _settings(component: type, built: Any) -> dict[str, Any]:
    """What decides about a network's features and shows in no tensor, by the name of the argument.

    A class says it by a method ``not_in_weights``; of one without shapes decide alone.
    """
    said = built.not_in_weights() if hasattr(component, "not_in_weights") else {}
    return {name: _plain(value) for name, value in said.items()}


def _plain(value: Any) -> Any:
    """The value as JSON would bring it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=repr)
    return value.__name__ if isinstance(value, type) else value


def _difference(statement: _Statement, own: Mapping[str, Any], names: list[str], kind: type) -> str:
    theirs = [f"{name}={statement.settings.get(name)!r}" for name in names]
    ours = [repr(own.get(name)) for name in names]
    right = f"with {', '.join(theirs)}"
    if not signature_of(kind).arguments.keys() >= set(names):  # inside the network, which the whole dict makes so
        right = f"as dict({', '.join(f'{name}={value!r}' for name, value in statement.described.items())})"
    return f"by {statement.by} the weights' network has {shown(theirs)}, and this one {shown(ours)}; build it {right}"
