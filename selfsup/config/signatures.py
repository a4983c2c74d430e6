"""Which arguments a component takes, read from its constructor and, through ``**kwargs``, from those of its bases."""

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Sequence
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
        open: whether it takes names that are not listed, so that unknown ones cannot be rejected.
    """

    arguments: dict[str, Argument]
    open: bool


@cache
def signature_of(component: Callable[..., Any]) -> Signature:
    """The arguments of a class or function.

    A class without a constructor of its own takes none, also one made from a bare ``torch.nn.Module``. A constructor
    that hands ``**kwargs`` on is completed by the constructors of its bases, without what it gives them itself, as
    ``super().__init__(optimizer, "lr", **kwargs)`` does; only one that still takes ``**kwargs`` at the end of the line
    leaves the signature open.
    """
    arguments: dict[str, Argument] = {}
    given = _Given()
    constructors = _constructors(component)
    for function in constructors:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):  # built in C: nothing to read
            return Signature(arguments, open=True)
        if isinstance(component, type) and parameters and parameters[0].kind in _POSITIONAL:
            del parameters[0]  # the object itself, whatever it is called
        filled = given.names(parameters)
        hints = _hints(function)
        for parameter in parameters:
            if parameter.kind not in _STARRED and parameter.name not in filled:
                argument = Argument(hints.get(parameter.name, Any), parameter.default)
                arguments.setdefault(parameter.name, argument)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return Signature(arguments, open=False)
        given = _given_to_bases(function, filled)
    return Signature(arguments, open=bool(constructors))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class _Given:
    """What a constructor gives that of its bases by itself, so that nobody else can.

    Args:
        count: arguments by position, from the first.
        keywords: names of the others.
    """

    count: int = 0
    keywords: frozenset[str] = frozenset()

    def names(self, parameters: Sequence[inspect.Parameter]) -> frozenset[str]:
        """The parameters of a constructor that are filled by it, of those after the object itself."""
        by_position = [parameter.name for parameter in parameters if parameter.kind in _POSITIONAL]
        return self.keywords.union(by_position[: self.count])


def _given_to_bases(function: Callable[..., Any], filled: frozenset[str]) -> _Given:
    """Read from a constructor's source; nothing where there is none, or not one plain ``super().__init__(...)``.

    Args:
        function: the constructor.
        filled: keywords that the one below it has filled already, and which ``**kwargs`` cannot hold any more.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return _Given(keywords=filled)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_super_init(node.func)]
    if len(calls) != 1:
        return _Given(keywords=filled)
    (call,) = calls
    starred = [isinstance(argument, ast.Starred) for argument in call.args]
    count = starred.index(True) if True in starred else len(starred)
    return _Given(count, filled | {keyword.arg for keyword in call.keywords if keyword.arg is not None})


def _is_super_init(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "__init__"
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "super"
    )


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
