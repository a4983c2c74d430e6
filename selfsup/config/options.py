"""Changes to a config from the command line: ``--cfg-options model.backbone.depth=101``."""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from selfsup.config.recipe import ALTERNATIVES
from selfsup.errors import ConfigError


def parse_options(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """``k=v`` texts as a dict; values are literals or ``dict()``, else ``true``, ``false``, ``none``, or text."""
    if isinstance(options, Mapping):
        return dict(options)
    parsed = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError.at(f"--cfg-options {text}", "must be KEY=VALUE, such as optim_wrapper.optimizer.lr=0.1")
        try:
            parsed[key.strip()] = _value(value.strip())
        except ValueError as error:
            raise ConfigError.at(f"--cfg-options {text}", f"must be a dict of plain values ({error})") from None
    return parsed


def literal(text: str) -> Any:
    """A Python literal, in which ``dict(a=1)`` may stand for ``{'a': 1}``.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        return ast.literal_eval(_DictCalls().visit(ast.parse(text.strip(), mode="eval")))
    except SyntaxError as error:
        raise ValueError(str(error)) from None


class _DictCalls(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if ast.unparse(node.func) != "dict" or node.args:
            return node
        return ast.Dict(
            [ast.Constant(keyword.arg) for keyword in node.keywords], [each.value for each in node.keywords]
        )


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "none"):
        return ast.literal_eval(text.capitalize())
    try:
        return literal(text)
    except ValueError:
        if text.startswith("dict("):
            raise
        return text


def apply_options(config: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Set values by dotted path, in place; validation decides whether a path that is new is known.

    Raises:
        ConfigError: if a path leads through a plain value or to a list item that is not there.
    """
    for path, value in options.items():
        _drop_alternative(config, path, options)
        node: Any = config
        keys = path.split(".")
        for depth, key in enumerate(keys):
            here, is_last = ".".join(keys[: depth + 1]), depth == len(keys) - 1
            if isinstance(node, list):
                if not key.isdigit() or int(key) >= len(node):
                    raise ConfigError.at(
                        f"--cfg-options {path}: {here}", f"must be a number below {len(node)}", got=key
                    )
                index: Any = int(key)
            elif isinstance(node, dict):
                index = key
                if node.get(key) is None:
                    node[key] = {}
            else:
                parent = ".".join(keys[:depth])
                raise ConfigError.at(f"--cfg-options {path}", f"{parent} is {node!r}, which has no {key!r} inside")
            if is_last:
                node[index] = copy.deepcopy(value)
            elif isinstance(node[index], tuple):
                node[index] = list(node[index])
            node = node[index]


def _drop_alternative(config: dict[str, Any], path: str, options: Mapping[str, Any]) -> None:
    """An option for one of two keys that exclude each other takes the file's other one away."""
    name, _, key = path.partition(".")
    section: Any = config.get(name)
    alternatives = ALTERNATIVES.get(name, ())
    for other in alternatives if key in alternatives and isinstance(section, dict) else ():
        if other != key and f"{name}.{other}" not in options:
            section.pop(other, None)
