"""Which arguments a component takes, read from its constructor and, through ``**kwargs``, from those of its bases."""

import ast
import inspect
import itertools
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from selfsup.registry import takes_nothing


@dataclass(frozen=True)
class Argument:
    """One argument of a component; ``default`` is :data:`REQUIRED` if it has none."""

    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether the argument has no default."""
        return self.default is REQUIRED


REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Signature:
    """What a component can be built with, in the constructor's order; it may be ``open`` to other names as well."""

    arguments: dict[str, Argument]
    open: bool


@cache
def signature_of(component: Callable[..., Any]) -> Signature:
    """The arguments of a class or function.

    A constructor that hands ``**kwargs`` on is completed by those of its bases, without what it gives them itself, as
    ``super().__init__(optimizer, "lr", **kwargs)`` does; only one that still takes ``**kwargs`` at the end of the line
    leaves the signature open.
    """
    arguments: dict[str, Argument] = {}
    filled: set[str] = set()  # by the constructors so far, so that nobody else can
    num_filled = 0  # by position
    constructors = _constructors(component)
    for function in constructors:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):  # built in C: nothing to read
            return Signature(arguments, open=True)
        if isinstance(component, type) and parameters and parameters[0].kind in _POSITIONAL:
            del parameters[0]  # the object itself, whatever it is called
        filled.update([parameter.name for parameter in parameters if parameter.kind in _POSITIONAL][:num_filled])
        hints = _hints(function)
        for parameter in parameters:
            if parameter.kind not in _STARRED and parameter.name not in filled:
                argument = Argument(hints.get(parameter.name, Any), parameter.default)
                arguments.setdefault(parameter.name, argument)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return Signature(arguments, open=False)
        num_filled, keywords = _given_to_bases(function)
        filled |= keywords
    return Signature(arguments, open=bool(constructors))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _given_to_bases(function: Callable[..., Any]) -> tuple[int, set[str]]:
    """How many arguments a constructor gives that of its bases by position, and the names of the others.

    Read from its source; nothing where there is none, or not one plain ``super().__init__(...)``.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return 0, set()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if ast.unparse(call.func) == "super().__init__"]
    if len(calls) != 1:
        return 0, set()
    plain = itertools.takewhile(lambda argument: not isinstance(argument, ast.Starred), calls[0].args)
    return len(list(plain)), {keyword.arg for keyword in calls[0].keywords if keyword.arg is not None}


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
