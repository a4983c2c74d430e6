"""Whether weights fit a network where no tensor shows it: attention heads, pooling, groups, eps.

Names and shapes show most of an architecture. The rest is stated by the card of a file, by the config in a checkpoint,
or by what its source always writes; a network must agree with it. Without a statement shapes decide alone.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.errors import CheckpointError, RegistryError
from selfsup.ops.parts import class_of
from selfsup.registry import BACKBONES
from selfsup.weights.card import card_path, read_card
from selfsup.weights.rules.sources import SOURCES

FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Arguments by which timm gets weights from elsewhere: not wanted here, and a card must not say what is opened."""


def check_settings(
    file: str | Path,
    backbone: nn.Module,
    *,
    config: Mapping[str, Any] | None = None,
    source: str = "selfsup",
    adapting: bool = False,
) -> float | None:
    """Reject weights of a file that are stated to belong to a network that computes something else than the backbone.

    It is stated by the file's card, the ``config`` in it, or the ``source`` that wrote it. With ``adapting`` eps may
    differ where the network can take it over, see :func:`selfsup.weights.rules.bit.adapt`.

    Returns:
        The eps of the weights' network then; None if nothing is to be taken over.

    Raises:
        CheckpointError: if an argument that no tensor shows is another, or the network that the file describes cannot
            be built to be compared.
    """
    by, theirs, same_kind = _stated(Path(file), config, class_of(backbone), source)
    own = _settings(backbone)
    names = {**theirs, **own} if same_kind else [name for name in theirs if name in own]
    eps = theirs.get("eps") if adapting and hasattr(backbone, "set_eps") else None
    different = [name for name in names if theirs.get(name) != own.get(name) and (name != "eps" or eps is None)]
    if different:
        wanted, got = (", ".join(f"{name}={each.get(name)!r}" for name in different) for each in (theirs, own))
        raise CheckpointError.at(str(file), f"the network must have {wanted}, as the weights' one by {by}", got=got)
    return eps


def without_fetching(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's dict without the arguments by which timm gets weights from elsewhere."""
    arguments = architecture.get("model_args")
    if not isinstance(arguments, Mapping):
        return dict(architecture)
    return {**architecture, "model_args": {key: item for key, item in arguments.items() if key not in FETCHING}}


def _stated(file: Path, config: Any, kind: type, source: str) -> tuple[str, dict[str, Any], bool]:
    """Who says of the weights' network what no tensor shows, and whether it is of the kind at hand; a file knows best.

    Nothing is said of a network that is not related to that kind.
    """
    card = read_card(file)
    model = config.get("model") if card is None and isinstance(config, Mapping) else card
    described = model.get("backbone") if isinstance(model, Mapping) else None
    described = described if isinstance(described, Mapping) else {}
    component = _component(described.get("type"), kind)
    if component is not None and (issubclass(component, kind) or issubclass(kind, component)):
        by, arguments = "its card" if card else "the config in it", {**without_fetching(described), "type": component}
        try:
            with torch.device("meta"):  # without memory
                settings = _settings(BACKBONES.build(arguments)) if hasattr(component, "not_in_weights") else {}
        except Exception as error:  # the arguments may be of another version, and the class somebody else's
            what = f"the network that {by} describes cannot be built here ({type(error).__name__}: {error})"
            right = f"put a card of what it is beside it, as {card_path(file).name}"
            raise CheckpointError.at(str(file), what, expected=right) from None
        return by, settings, component is kind
    stated = dict(SOURCES[source].network)
    component = _component(stated.pop("type", None), kind)
    related = component is not None and issubclass(kind, component)
    return f"source={source!r}", stated if related else {}, False


def _component(name: Any, kind: type) -> type | None:
    """The class that a file calls so, perhaps the one at hand; None if it is not known here."""
    if not isinstance(name, str):
        return None
    name = re.sub(r"<class '([\w.]+)'>", r"\1", name)  # as the config in a checkpoint shows a class
    if name == f"{kind.__module__}.{kind.__qualname__}":
        return kind
    with contextlib.suppress(RegistryError):
        found = BACKBONES.find(name.rpartition(".")[2])
        if isinstance(found, type) and ("." not in name or f"{found.__module__}.{found.__qualname__}" == name):
            return found
    return None


def _settings(network: Any) -> dict[str, Any]:
    """What decides about a network's features and shows in no tensor, by the name of the argument, as JSON has it.

    A class says it by a method ``not_in_weights``; of one without shapes decide alone.
    """
    said = network.not_in_weights() if hasattr(network, "not_in_weights") else {}
    settings: dict[str, Any] = json.loads(json.dumps(said, default=_plain))
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value.__name__ if isinstance(value, type) else repr(value)
