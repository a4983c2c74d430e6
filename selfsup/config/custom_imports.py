"""``custom_imports``: components that no installed package offers, from modules by name and from files by path."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from selfsup.errors import ConfigError, Problem, SelfsupError
from selfsup.registry import admit


def anchor(custom_imports: Any, folder: Path) -> None:
    """Make the section's relative file paths absolute, in place: they hold wherever the config is written to."""
    if any(map(_is_path, names := _names(custom_imports))):
        paths = (str(folder / Path(name).expanduser()) if _is_path(name) else name for name in names)
        custom_imports["imports"] = list(paths)


def with_modules(custom_imports: Any, modules: Iterable[str]) -> dict[str, Any]:
    """The section, or None where there is none yet, with further modules to import."""
    listed = _names(custom_imports)
    return {**(custom_imports or {}), "imports": list(dict.fromkeys([*listed, *modules]))}


def import_custom(custom_imports: Any) -> list[Problem]:
    """Import what the section names, and let the config name classes of it that are not registered.

    Returns:
        What could not be imported, or registers a name that is taken, each with its reason; empty if all went well.
    """
    problems = []
    for name in _names(custom_imports):
        try:
            module = _import_file(Path(name)) if _is_path(name) else importlib.import_module(name)
            admit(module.__name__)
        except SelfsupError as error:  # one that registers a taken name, too
            problems += [Problem("custom_imports.imports", f"{name}: {problem}") for problem in error.problems]
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises is explained
            if not custom_imports.get("allow_failed_imports", False):
                why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
                right = "" if _is_path(name) else "it must be installed or on PYTHONPATH, or given by its file's path"
                message = f"cannot import {name!r}: {why}"
                problems.append(Problem("custom_imports.imports", message, expected=right))
    return problems


def _names(custom_imports: Any) -> list[str]:
    names = custom_imports.get("imports") if isinstance(custom_imports, dict) else None
    listed = names if isinstance(names, (list, tuple)) else [names]
    return [name for name in listed if isinstance(name, str)]  # anything else is rejected by validation


def _is_path(name: str) -> bool:
    return name.endswith(".py")


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, from its own folder: worker processes find it there too."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigError("no such file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
        importlib.invalidate_caches()
    module = importlib.import_module(path.stem)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise ConfigError(f"another module is called {path.stem!r} already ({found or 'built in'}); rename the file")
    return module
