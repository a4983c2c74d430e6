"""Whether a config value fits a parameter's annotation, and how to say what would."""

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Union


def fits(value: Any, annotation: Any) -> bool:
    """Whether ``value`` may be passed where ``annotation`` stands; True whenever the annotation cannot be evaluated.

    Lists and tuples stand for one another, an int is a float, a bool is not an int, and a dict stands for an object of
    any class because components are written as dicts.
    """
    if annotation in (Any, Ellipsis) or isinstance(annotation, (str, typing.TypeVar)):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if annotation is None or annotation is type(None):
        return value is None
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind in (bool, str):
        return isinstance(value, kind)
    if _is_sequence(kind):
        if not isinstance(value, (list, tuple)):
            return False
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return not arguments or all(fits(item, arguments[0]) for item in value)
    if issubclass(kind, dict) or kind is Mapping:
        return isinstance(value, dict)
    if kind is Callable or isinstance(value, kind):
        return True
    return isinstance(value, dict) or not isinstance(value, (bool, int, float, str, list, tuple, type(None)))


def _is_sequence(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, (list, tuple)) or kind in (Sequence, Collection, Iterable))


def spelled(annotation: Any) -> str:
    """The annotation as an error message names it: ``int``, ``'a' or 'b'``, ``a sequence of int``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return spelled(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(spelled(choice) for choice in arguments))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if annotation is None or annotation is type(None):
        return "None"
    kind = origin or annotation
    if _is_sequence(kind):
        return f"a sequence of {spelled(arguments[0])}" if arguments else "a sequence"
    return "dict" if dataclasses.is_dataclass(kind) else str(getattr(kind, "__name__", kind))


def choices(annotation: Any) -> list[str]:
    """The texts a ``Literal`` anywhere in the annotation allows."""
    if typing.get_origin(annotation) is Literal:
        return [choice for choice in typing.get_args(annotation) if isinstance(choice, str)]
    return [text for argument in typing.get_args(annotation) for text in choices(argument)]


def element(annotation: Any) -> Any:
    """The annotation of the items of a sequence, Any if there is none."""
    for candidate in [annotation, *typing.get_args(annotation)]:
        origin = typing.get_origin(candidate)
        if _is_sequence(origin):
            return typing.get_args(candidate)[0]
    return Any


def classes(annotation: Any) -> list[type]:
    """The classes of ours or a plugin's among the annotation's choices: what a dict without ``type`` may describe."""
    found = [choice for choice in [annotation, *typing.get_args(annotation)] if isinstance(choice, type)]
    foreign = ("builtins", "collections", "os", "pathlib", "torch", "typing")
    return [kind for kind in found if kind.__module__.split(".")[0] not in foreign]
