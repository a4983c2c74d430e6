"""The parts of a method: built of their dicts, and seen to fit each other before anything runs."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from selfsup.errors import ConfigError, under
from selfsup.registry import LOSSES, NECKS, Registry


def built(registry: Registry, part: Any, place: str, **context: Any) -> Any:
    """Build a part of a method; a value that it rejects is an error of the user's, with its place in the config."""
    with under(place):
        return registry.build(part, **context)


def build_part(registry: Registry, part: nn.Module | dict[str, Any], place: str, *, in_dim: int, source: str) -> Any:
    """Build a part of a method that takes the features of another part.

    Args:
        registry: where its type is looked up.
        part: the module, or its dict; ``in_dim`` may be left out of the dict.
        place: its path in the method, for the error message.
        in_dim: the features it is given.
        source: where they come from, for the error message.

    Raises:
        ConfigError: if the part takes another number of features, does not say how many it gives, or rejects a value.
    """
    module = built(registry, part, place, in_dim=in_dim)
    if not isinstance(getattr(module, "out_dim", None), int):
        raise ConfigError.at(place, f"{type(module).__name__} has no 'out_dim' (int), the number of features it gives")
    wanted = getattr(module, "in_dim", in_dim)
    if wanted != in_dim:
        raise ConfigError.at(
            f"{place}.in_dim", f"must be {source} = {in_dim}", got=wanted, expected="it may be left out of the config"
        )
    return module


def build_predictor(predictor: nn.Module | dict[str, Any], neck: Any) -> Any:
    """Build a predictor, which makes of one embedding another of the same size.

    Args:
        predictor: the module, or its dict; ``in_dim`` and ``out_dim`` may be left out of the dict.
        neck: what embeds, with ``out_dim``.

    Raises:
        ConfigError: if the predictor takes or gives another number of features, or rejects a value.
    """
    module = built(NECKS, predictor, "predictor", in_dim=neck.out_dim, out_dim=neck.out_dim)
    for name in ("in_dim", "out_dim"):
        if (got := getattr(module, name, neck.out_dim)) != neck.out_dim:
            raise ConfigError.at(
                f"predictor.{name}",
                f"must be neck.out_dim = {neck.out_dim}",
                got=got,
                expected="it may be left out of the config",
            )
    return module


def build_loss(loss: nn.Module | dict[str, Any], place: str, given: Sequence[str] | Mapping[str, Sequence[str]]) -> Any:
    """Build a method's loss, and see whether it takes what the method will hand over.

    Losses are called by position, and two that take as many tensors may mean different ones: what a method hands over
    has names, and the parameters of a loss that fits are called the same. One that takes ``*args`` says that it can do
    with anything.

    Args:
        loss: the module, or its dict.
        place: its path in the method, for the error message.
        given: what it is handed, by position; or, where other methods of the loss are called than its ``forward``,
            what each of them is handed.

    Raises:
        ConfigError: if the loss takes something else, or rejects a value.
    """
    module = built(LOSSES, loss, place)
    name = type(module).__name__
    for call, handed in (given if isinstance(given, Mapping) else {"forward": given}).items():
        function = getattr(module, call, None)
        needed = f"must take ({', '.join(handed)}){'' if call == 'forward' else f' as its {call}'}"
        if not callable(function):
            raise ConfigError.at(place, f"{needed}, and {name} has no {call}")
        signature = inspect.signature(function)
        if not _takes(signature, handed):
            takes = ", ".join(f"{_STARS.get(p.kind, '')}{p.name}" for p in signature.parameters.values())
            right = "choose another loss, or give the parameters of your own these names"
            raise ConfigError.at(place, f"{needed}, and {name} takes ({takes})", expected=right)
    return module


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _takes(signature: inspect.Signature, names: Sequence[str]) -> bool:
    """Whether what has these names may be handed over by position."""
    try:
        bound = signature.bind(*names).arguments
    except TypeError:
        return False
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    return all(kinds[name] is inspect.Parameter.VAR_POSITIONAL or name == value for name, value in bound.items())
