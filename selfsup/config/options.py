"""Changes to a config from the command line: ``--cfg-options model.backbone.depth=101``."""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.config.schema import ALTERNATIVES
from selfsup.errors import ConfigError


def parse_options(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """``k=v`` texts as a dict; values are Python literals, else ``true``, ``false``, ``none``, else text.

    Raises:
        ConfigError: if a text has no ``=``.
    """
    if isinstance(options, Mapping):
        return dict(options)
    parsed = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--cfg-options {text}: must be KEY=VALUE, such as optim_wrapper.optimizer.lr=0.1")
        parsed[key.strip()] = _literal(value)
    return parsed


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
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
