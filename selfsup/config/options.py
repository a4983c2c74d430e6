"""Changes to a config from the command line: ``--cfg-options model.backbone.depth=101``."""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.config.inherit import REPLACE
from selfsup.config.recipe import ALTERNATIVES
from selfsup.errors import ConfigError


def parse_options(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """``k=v`` texts as a dict; values are Python literals or ``dict()``, else ``true``, ``false``, ``none``, or text.

    Raises:
        ConfigError: if a text has no ``=``, or a ``dict(...)`` holds anything but plain values.
    """
    if isinstance(options, Mapping):
        return dict(options)
    parsed = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--cfg-options {text}: must be KEY=VALUE, such as optim_wrapper.optimizer.lr=0.1")
        try:
            parsed[key.strip()] = _value(value.strip())
        except ValueError as error:
            raise ConfigError(f"--cfg-options {text}: must be a dict of plain values ({error})") from None
    return parsed


def literal(text: str) -> Any:
    """A Python literal, in which ``dict(a=1)`` may stand for ``{'a': 1}``.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        return _literal(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("write the keys of ** out")
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    return ast.literal_eval(node)


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return literal(text)
    except ValueError:
        if text.startswith("dict("):
            raise
        return text


def apply_options(config: dict[str, Any], options: Mapping[str, Any]) -> set[str]:
    """Set values by dotted path, in place.

    Returns:
        The paths that did not exist before; validation decides whether each is a known key or argument.

    Raises:
        ConfigError: if a path leads through a plain value or to a list item that is not there.
    """
    added: set[str] = set()
    for path, value in options.items():
        _drop_alternative(config, path, options)
        node: Any = config
        keys = path.split(".")
        if REPLACE in keys or (isinstance(value, Mapping) and REPLACE in value):
            parent = path.partition(f".{REPLACE}")[0]
            raise ConfigError(
                f"--cfg-options {path}: {REPLACE} is for files; here a dict replaces what was there, whole: "
                f'"{parent}=dict(type=..., ...)"'
            )
        for depth, key in enumerate(keys):
            here, last = ".".join(keys[: depth + 1]), depth == len(keys) - 1
            if isinstance(node, dict):
                if key not in node or (not last and node[key] is None):
                    added.add(here)
                    node[key] = {}
                index: Any = key
            elif isinstance(node, list):
                if not key.isdigit() or int(key) >= len(node):
                    raise ConfigError(f"--cfg-options {path}: {here}: must be a number below {len(node)}, got {key!r}")
                index = int(key)
            else:
                parent = ".".join(keys[:depth])
                raise ConfigError(f"--cfg-options {path}: {parent} is {node!r}, which has no {key!r} inside")
            if last:
                node[index] = copy.deepcopy(value)
            elif isinstance(node[index], tuple):
                node[index] = list(node[index])
            node = node[index]
    return added


def _drop_alternative(config: dict[str, Any], path: str, options: Mapping[str, Any]) -> None:
    """An option for one of two keys that exclude each other takes the file's other one away."""
    section, _, key = path.partition(".")
    alternatives = ALTERNATIVES.get(section, ())
    if key in alternatives and isinstance(config.get(section), dict):
        for other in alternatives:
            if other != key and f"{section}.{other}" not in options:
                config[section].pop(other, None)
