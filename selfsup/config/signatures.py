"""Which arguments a component takes, read from its constructor and, through ``**kwargs``, from those of its bases."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from selfsup.registry import takes_nothing


@dataclass(frozen=True)
class Argument:
    """One argument of a component.

    Args:
        annotation: its type, Any if it has none.
        default: what it is when left out; :data:`REQUIRED` if it may not be.
    """

    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether the argument has no default."""
        return self.default is REQUIRED


REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Signature:
    """What a component can be built with.

    Args:
        arguments: the arguments by name, in the order of the constructor.
        open: whether it takes names that are not listed, so that unknown ones cannot be refused.
    """

    arguments: dict[str, Argument]
    open: bool


@cache
def signature_of(component: Callable[..., Any]) -> Signature:
    """The arguments of a class or function.

    A class without a constructor of its own takes none, also one made from a bare ``torch.nn.Module``. A constructor
    that hands ``**kwargs`` on is completed by the constructors of its bases; only one that still takes ``**kwargs`` at
    the end of the line leaves the signature open.
    """
    arguments: dict[str, Argument] = {}
    constructors = _constructors(component)
    for function in constructors:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):  # built in C: nothing to read
            return Signature(arguments, open=True)
        hints = _hints(function)
        for parameter in parameters:
            if parameter.name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                argument = Argument(hints.get(parameter.name, Any), parameter.default)
                arguments.setdefault(parameter.name, argument)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return Signature(arguments, open=False)
    return Signature(arguments, open=bool(constructors))


def _constructors(component: Callable[..., Any]) -> list[Callable[..., Any]]:
    if not isinstance(component, type):
        return [component]
    if takes_nothing(component):
        return []
    return [vars(base)["__init__"] for base in component.__mro__ if base is not object and "__init__" in vars(base)]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations of names that are only imported for type checkers
        return {}
