"""How a kit rejects: broken components, what is said of each, and the line of the kit that says so."""

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
    """A component that breaks a rule.

    Args:
        make: makes it.
        sentence: part of what the kit says.
        inputs: of a loss.
        options: of the kit.
    """

    make: Callable[[], Any]
    sentence: str
    inputs: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def changed(base: type, **methods: Any) -> type:
    """A class in which some methods are others."""
    return type("Broken", (base,), methods)


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
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == KITS]
        site = [frame for frame in frames if Path(frame.filename).name != "contract.py"][-1]
        return str(error), (Path(site.filename).name, int(site.lineno or 0))
    raise AssertionError(f"{type(component).__name__} passes; it should be told that it {broken.sentence!r}")


def rules() -> dict[Site, range]:
    """Every rule in the kits, with its lines."""
    found = {}
    for file in sorted(set(KITS.glob("*.py")) - {KITS / "contract.py"}):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("require", "require_close", "must"):
                found[file.name, node.lineno] = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return found
