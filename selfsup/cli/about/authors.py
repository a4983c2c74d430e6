"""What authors of components inherit, call and fulfill, by the names that `selfsup show` takes."""

import importlib
import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from mmengine.hooks import Hook

ROOMS = (
    *("selfsup.methods", "selfsup.evaluation", "selfsup.data", "selfsup.engine.schedules", "selfsup.layers"),
    *("selfsup.ops", "selfsup.testing"),
)
BASES = {
    "Method": "selfsup.methods",
    "Teacher": "selfsup.methods",
    "Progress": "selfsup.methods",
    "Evaluator": "selfsup.evaluation",
    "Probe": "selfsup.evaluation",
    "Predictor": "selfsup.evaluation",
    "Representation": "selfsup.evaluation",
    "Task": "selfsup.evaluation",
    "Result": "selfsup.evaluation",
    "ImageSource": "selfsup.data",
    "MultiView": "selfsup.data",
    "Transform": "selfsup.data",
    "Schedule": "selfsup.engine.schedules",
    "Hook": "mmengine.hooks",
}
"""What `selfsup show bases` lists, and where it is imported from."""


def find(name: str) -> tuple[str, Any] | None:
    """The room that exports a name, and what it is; None if none does."""
    rooms = (BASES[name],) if name in BASES else ROOMS
    for room in rooms:
        module = importlib.import_module(room)
        if name in BASES or name in module.__all__:
            return room, getattr(module, name)
    return None


def known_names() -> set[str]:
    """Every name that :func:`find` knows."""
    return {*BASES, *(name for room in ROOMS for name in importlib.import_module(room).__all__)}


def members(kind: type) -> Iterator[tuple[str, str, str]]:
    """Name, signature and first line of what a class offers to be overridden or called, that of our bases included."""
    readable = [base for base in kind.__mro__ if base.__module__.startswith(("selfsup", "mmengine.hooks"))]
    for name in dict.fromkeys(name for base in readable for name in vars(base)):
        member = inspect.getattr_static(kind, name)
        if name.startswith("_") and name not in ("__call__", "__len__"):
            continue
        if isinstance(member, property | cached_property):
            signature = ""
        elif inspect.isroutine(member):
            signature = _spelled(getattr(kind, name), bound=isinstance(member, classmethod | staticmethod))
        else:
            continue
        yield name, signature, (inspect.getdoc(member) or "").partition("\n")[0] if readable[0] is not Hook else ""


def _spelled(function: Any, *, bound: bool) -> str:
    """The arguments without their types, and without the object itself."""
    parameters = list(inspect.signature(function).parameters.values())[0 if bound else 1 :]
    names = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(names))
