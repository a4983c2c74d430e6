"""Execute a config file, with the files it is composed of, to plain data."""

import ast
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject

from selfsup.config.custom_imports import anchor, with_modules
from selfsup.config.inherit import execute_on, listed_bases, merged
from selfsup.config.recipe import REGISTRIES, Recipe
from selfsup.errors import ConfigError, Problem, SelfsupError, nearest


def read_config(path: Path) -> dict[str, Any]:
    """Execute a config file with the files it is composed of; the result is not validated yet.

    Variables that the files only compute with (``batch`` in ``lr = 0.3 * batch / 256``) are left out: a top-level name
    that is not a config key is kept, and later rejected, only if nothing reads it.

    Raises:
        ConfigError: if the file, or one it builds on, is missing or fails, with file, line and reason.
    """
    if path.suffix != ".py":
        raise ConfigError.at(str(path), "a config is a Python file (.py)", got=path.suffix or "no suffix")
    helpers = set().union(*map(_names_read, _files_of(path))) - set(Recipe.__dataclass_fields__)
    tree = _parsed(path)
    bases = listed_bases(path, tree)
    inherited: dict[str, Any] = {}
    for base in bases:
        inherited = merged(inherited, read_config(base))
    inherited.pop("recipe", None)  # what builds on a recipe is another one
    try:
        if bases:
            raw = execute_on(inherited, path, tree)
        else:  # MMEngine's new style: ``with read_base()`` imports configs, and imported classes are not imported yet
            options = {"import_custom_modules": False, "use_environment_variables": False, "format_python_code": False}
            raw = Config.fromfile(path, lazy_import=True, **options)._to_lazy_dict()
    except SelfsupError:
        raise
    except (Exception, SystemExit) as error:  # a config is code, and what it raises is told with its place in the file
        raise ConfigError(_explain(error, path)) from error
    classes: list[type] = []
    config = {key: _plain(value, key, classes) for key, value in raw.items() if key not in helpers}
    anchor(config.get("custom_imports"), path.parent)
    if modules := list(dict.fromkeys(component.__module__ for component in classes)):
        config["custom_imports"] = with_modules(config.get("custom_imports"), modules)
    return config


def _files_of(path: Path, seen: tuple[Path, ...] = ()) -> Iterable[Path]:
    """A config file and all it is composed of."""
    if path in seen:
        raise ConfigError.at(str(path), f"builds on itself through {', '.join(file.name for file in seen)}")
    yield path
    for base in _bases_of(path):
        yield from _files_of(base, (*seen, path))


def _bases_of(path: Path) -> Iterable[Path]:
    for node in _parsed(path).body:
        if isinstance(node, ast.With) and "read_base" in ast.dump(node.items[0].context_expr):
            for statement in node.body:
                if not isinstance(statement, ast.ImportFrom):
                    continue
                place = f"{path}, line {statement.lineno}"
                if statement.level == 0:
                    right = "'from .base import *', or _base_ = 'swav/swav_resnet50' for a packaged recipe"
                    raise ConfigError.at(place, "read_base() takes relative imports", expected=right)
                folder = path.parents[statement.level - 1]
                base = folder / f"{(statement.module or '').replace('.', '/')}.py"
                if not base.is_file():
                    hint = nearest(base.stem, [file.stem for file in base.parent.glob("*.py")])
                    raise ConfigError.at(place, f"builds on {base}, which does not exist", expected=hint)
                yield base
    yield from listed_bases(path, _parsed(path))


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ConfigError.at(f"{path}, line {error.lineno}", f"{error.msg}: {(error.text or '').strip()}") from None


def _names_read(path: Path) -> set[str]:
    """Variables a file computes with, and modules or functions it defines: helpers, not config keys."""
    names: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    for node in _parsed(path).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return names


def _explain(error: BaseException, path: Path) -> Problem:
    """What was raised, with the last place in a config file that it came through."""
    line = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path) or frame.filename in ("", "<string>") or "configs" in Path(frame.filename).parts:
            line = f", line {frame.lineno}"
            path = Path(frame.filename) if Path(frame.filename).is_file() else path
    if isinstance(error, RuntimeError) and not str(error):  # MMEngine's, for imported names
        what = "calls something imported; a config only names components, it does not build them"
        return Problem(f"{path}{line}", what)
    return Problem(f"{path}{line}", f"{type(error).__name__}: {error}")


def _plain(value: Any, path: str, classes: list[type]) -> Any:
    """What stands at a path without MMEngine's classes; component classes become their names.

    Those that are types of components without being registered are added to ``classes``.
    """
    if isinstance(value, dict):
        return {key: _plain(item, f"{path}.{key}", classes) for key, item in value.items() if key != "_scope_"}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, f"{path}.{index}", classes) for index, item in enumerate(value))
    if isinstance(value, (LazyObject, LazyAttr)):
        try:
            value = value.build()
        except (Exception, SystemExit) as error:  # importing a stranger's module may raise anything
            raise ConfigError.at(path, f"cannot import {value}: {type(error).__name__}: {error}") from error
    if not isinstance(value, type):
        return value
    for registry in REGISTRIES:
        for name in registry.names():
            if registry.get(name) is value:
                return name
    if path.endswith(".type"):
        classes.append(value)
    return f"{value.__module__}.{value.__qualname__}"
