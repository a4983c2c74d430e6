"""A recipe as text."""

from collections.abc import Mapping
from typing import Any

from selfsup.config.recipe import Recipe


def dump_config(recipe: Recipe | Mapping[str, Any]) -> str:
    """The text of a config file that ``load_config`` reads back to an equal recipe."""
    return "".join(f"{key} = {_source(value, 0)}\n" for key, value in Recipe.of(recipe).to_dict().items())


def _source(value: Any, depth: int) -> str:
    one_line = repr(value)
    if not isinstance(value, (dict, list, tuple)) or not value or len(one_line) + 4 * depth <= 100:
        return one_line
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, dict):
        lines = (f"{inner}{key!r}: {_source(item, depth + 1)},\n" for key, item in value.items())
        return "{\n" + "".join(lines) + outer + "}"
    opening, closing = "()" if isinstance(value, tuple) else "[]"
    return f"{opening}\n" + "".join(f"{inner}{_source(item, depth + 1)},\n" for item in value) + outer + closing
