"""``custom_imports``: components that no installed package offers, from modules by name and from files by path."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from selfsup.errors import ConfigError, Problem, SelfsupError
from selfsup.registry import admit

SUFFIX = ".py"


def anchor(custom_imports: Any, folder: Path) -> None:
    """Make the section's relative file paths absolute, in place, so that they hold wherever the config is written to.

    Args:
        custom_imports: the section as the file gives it; what is not well-formed is left to validation.
        folder: of the config.
    """
    names = _names(custom_imports)
    if any(map(_is_path, names)):
        custom_imports["imports"] = [
            str(folder / Path(name).expanduser()) if _is_path(name) else name for name in names
        ]


def with_modules(custom_imports: Any, modules: Iterable[str]) -> Any:
    """The section with further modules to import.

    Args:
        custom_imports: the section as the file gives it, None if it does not; what is not well-formed stays as it is.
        modules: dotted names.
    """
    if custom_imports is not None and not isinstance(custom_imports, dict):
        return custom_imports
    section = custom_imports or {}
    given = section.get("imports", [])
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    more = [module for module in modules if module not in listed]
    return {**section, "imports": [*listed, *more]} if more else custom_imports


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
                problems.append(Problem("custom_imports.imports", f"cannot import {name!r}: {_explained(name, error)}"))
    return problems


def _explained(name: str, error: BaseException) -> str:
    why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        return f"{why}; it must not end the program that imports it"
    return why if _is_path(name) else f"{why}; it must be installed or on PYTHONPATH, or given as the path of its file"


def _names(custom_imports: Any) -> list[str]:
    names = custom_imports.get("imports") if isinstance(custom_imports, dict) else None
    listed = names if isinstance(names, (list, tuple)) else [names]
    return [name for name in listed if isinstance(name, str)]  # anything else is rejected by validation


def _is_path(name: str) -> bool:
    return name.endswith(SUFFIX)


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, from its own folder: worker processes find it there too."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigError("no such file")
    if not path.stem.isidentifier():
        raise ConfigError(f"{path.stem!r} cannot be a module's name; rename the file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
        importlib.invalidate_caches()
    module = importlib.import_module(path.stem)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise ConfigError(f"another module is called {path.stem!r} already ({found or 'built in'}); rename the file")
    return module
