"""How a kit rejects: broken components, the sentence each is rejected with, and the line of the kit that says so."""

import ast
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from selfsup import testing

KITS = Path(testing.__file__).parent
Site = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Broken:
    """A component that breaks a promise.

    Args:
        make: makes it, called by the name of its class.
        sentence: the beginning of what the kit says after that name.
        inputs: of a loss.
        options: of the kit.
    """

    make: Callable[[], Any]
    sentence: str
    inputs: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@cache
def rejection(check: Callable[..., None], broken: Broken) -> tuple[str, Site]:
    """What the kit says, and which of its lines: file and number.

    Raises:
        AssertionError: if the component passes.
    """
    component = broken.make()
    try:
        check(component, *broken.inputs, **broken.options)
    except AssertionError as error:
        calls = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == KITS]
        said_by = [frame for frame in calls if Path(frame.filename).name != "promise.py"][-1]
        return str(error), (Path(said_by.filename).name, int(said_by.lineno or 0))
    raise AssertionError(f"{type(component).__name__} passes; it should be told that it {broken.sentence!r}")


def promises() -> dict[Site, range]:
    """Every call of ``promise`` and ``promised`` in the kits, with its lines."""
    found = {}
    for file in sorted(KITS.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("promise", "promised"):
                found[file.name, node.lineno] = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return found
