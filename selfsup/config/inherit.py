"""``_base_ = [...]``: a config names others, beside it or packaged, and its own dicts are merged into theirs."""

import ast
import copy
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from selfsup.config.find import existing, find_packaged
from selfsup.errors import ConfigError

REPLACE = "_delete_"
"""In a dict, set to True: takes the place of the inherited dict instead of being merged into it; MMEngine's name."""


def listed_bases(path: Path, tree: ast.Module) -> list[Path]:
    """The files that a config's ``_base_`` names, in order; empty if it has none.

    A name stands for a file beside the config or, where there is none, for a packaged config; ``.py`` is optional.

    Raises:
        ConfigError: if a base does not exist, with the nearest name, or ``_base_`` is not written out as text.
    """
    for node in tree.body:
        if isinstance(node, ast.Assign) and _names_bases(node):
            try:
                names = ast.literal_eval(node.value)
            except ValueError:
                names = None
            names = [names] if isinstance(names, str) else names
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise ConfigError.at(
                    f"{path}, line {node.lineno}: _base_", "must be a name or a list of names in quotes"
                )
            return [_found(name, path, node.lineno) for name in names]
    return []


def _names_bases(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_base_" for t in node.targets)


def _found(name: str, path: Path, line: int) -> Path:
    siblings = [file.stem for file in path.parent.glob("*.py") if file != path]
    beside = existing(path.parent / Path(name).expanduser())
    return beside or find_packaged(name, asked=f"{path}, line {line}: builds on {name}", also=siblings)


def execute_on(inherited: Mapping[str, Any], path: Path, tree: ast.Module) -> dict[str, Any]:
    """Run a config file whose bases are read already, and merge what it defines into what they define.

    Args:
        inherited: what the bases define; the file sees a copy as ``_base_``: ``lr = _base_.optimizer.lr / 2``.
        path: the file, for messages.
        tree: its syntax tree.
    """
    own_lines = [node for node in tree.body if not _names_bases(node)]
    names: dict[str, Any] = {"_base_": ConfigDict(copy.deepcopy(dict(inherited))), "__file__": str(path)}
    exec(compile(ast.Module(own_lines, []), str(path), "exec"), names)
    own = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and not isinstance(value, (types.ModuleType, types.FunctionType))
    }
    return merged(inherited, own)


def merged(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts key by key, to the bottom; anything else of ``own`` takes the place of what was inherited."""
    result = copy.deepcopy(dict(inherited))
    for key, value in own.items():
        before = result.get(key)
        if not isinstance(value, Mapping):
            result[key] = value
        elif isinstance(before, Mapping) and not value.get(REPLACE, False):
            result[key] = merged(before, value)
        else:
            result[key] = merged({}, {name: item for name, item in value.items() if name != REPLACE})
    return result
