"""From a path or name to a resolved config: plain dicts, lists and values, validated, with every default filled in."""

import ast
import copy
import difflib
import importlib
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject

import selfsup
from selfsup.config.schema import ALTERNATIVES, REGISTRIES, Recipe
from selfsup.config.validate import fill_defaults, validate
from selfsup.errors import ConfigError, DataError, SelfsupError, did_you_mean

_PACKAGE = Path(selfsup.__file__).parent
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where packaged configs are: inside an installed package, beside it in a checkout."""


def load_config(
    path_or_name: str | Path, options: Mapping[str, Any] | Sequence[str] = (), *, images: str | Path | None = None
) -> dict[str, Any]:
    """Load, compose, override, validate and complete a config.

    Args:
        path_or_name: a file, or the name of a packaged config such as ``'swav/swav_resnet50'``; ``.py`` is optional.
        options: changes by dotted path, ``{'train_cfg.max_steps': 5}`` or ``['train_cfg.max_steps=5']``; list items
            by number: ``custom_hooks.0.interval=5``. ``train_cfg.max_steps`` replaces ``max_epochs`` and vice versa.
        images: folder or list of images that replaces the config's own, see :func:`use_images`.

    Returns:
        The resolved config: plain data with ``type`` names, independent of the file and of later calls.

    Raises:
        ConfigError: if the file is not found, cannot be executed, or has anything wrong; every problem is listed.
        DataError: if ``images`` does not exist.
    """
    path = find_config(path_or_name)
    config = read_config(path)
    if images is not None:
        use_images(config, images)
    added = apply_options(config, parse_options(options))
    _import_custom(config.get("custom_imports"))
    validate(config, source=str(path), added=added)
    return fill_defaults(config)


def use_images(config: dict[str, Any], images: str | Path) -> None:
    """Point a config, in place, at other training images.

    They become an ``ImageList`` without labels. Evaluators lose the data sets they name, which are other images than
    the run now learns from: each is then given a held-out part of the new ones, and left out if it needs labels and
    there are none.

    Raises:
        DataError: if there is no such folder or file.
    """
    root = Path(images).expanduser()
    if not root.exists():
        raise DataError(f"{images}: no such folder or file; it must be a folder of images or a list of their paths")
    loader = config.get("train_dataloader")
    if isinstance(loader, dict):
        loader["dataset"] = {"type": "ImageList", "root": str(root)}
        loader.pop("num_images", None)
    evaluators = config.get("evaluators")
    for evaluator in evaluators.values() if isinstance(evaluators, dict) else ():
        if isinstance(evaluator, dict):
            for name in ("train", "test"):
                evaluator.pop(name, None)


def config_names() -> list[str]:
    """The packaged configs, as ``load_config`` takes them, without the ``_base_`` fragments."""
    for folder in CONFIG_FOLDERS:
        if folder.is_dir():
            files = (file.relative_to(folder) for file in folder.rglob("*.py"))
            return sorted(file.with_suffix("").as_posix() for file in files if not file.parts[0].startswith("_"))
    return []


def find_config(path_or_name: str | Path) -> Path:
    """The file that a path or name stands for; files of the current folder come before packaged configs.

    Raises:
        ConfigError: if there is none, with the nearest name.
    """
    wanted = Path(path_or_name).expanduser()
    candidates = [wanted, wanted.with_name(wanted.name + ".py")]
    name = Path(*wanted.parts[1:]) if wanted.parts[:1] == ("configs",) and len(wanted.parts) > 1 else wanted
    if not name.is_absolute():
        candidates += [folder / name.with_name(name.name + end) for folder in CONFIG_FOLDERS for end in ("", ".py")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    known = config_names()
    stem = name.as_posix().removesuffix(".py")
    same_stem = [known_name for known_name in known if known_name.split("/")[-1] == stem]
    if len(same_stem) == 1:
        return find_config(same_stem[0])
    raise ConfigError(f"{path_or_name}: no such file, and no packaged config has that name{_nearest(stem, known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    """``did_you_mean`` that also compares the part after the folder."""
    by_stem = {full.split("/")[-1]: full for full in known}
    near = difflib.get_close_matches(name.split("/")[-1], by_stem, n=1, cutoff=0.6)
    return f"; did you mean {by_stem[near[0]]!r}?" if near else did_you_mean(name, known)


def read_config(path: Path) -> dict[str, Any]:
    """Execute a config file with the files it is composed of; the result is not validated yet.

    Variables that the files only compute with (``batch`` in ``lr = 0.3 * batch / 256``) are left out: a top-level name
    that is not a config key is kept, and later refused, only if nothing reads it.

    Raises:
        ConfigError: if the file, or one it builds on, is missing or fails, with file, line and reason.
    """
    if path.suffix != ".py":
        raise ConfigError(f"{path}: a config is a Python file (.py), got {path.suffix or 'no suffix'!r}")
    helpers = set().union(*map(_names_read, _files_of(path))) - set(Recipe.__dataclass_fields__)
    may_list_bases = "_base_" in path.read_text(encoding="utf-8")
    try:
        loaded = Config.fromfile(
            path,
            import_custom_modules=False,
            use_environment_variables=False,
            lazy_import=None if may_list_bases else True,
            format_python_code=False,
        )
    except SelfsupError:
        raise
    except Exception as error:  # a config is code: whatever it raises is explained with its place in the file
        raise ConfigError(_explain(error, path)) from error
    raw = loaded._to_lazy_dict()
    return {key: _plain(value, key) for key, value in raw.items() if key not in helpers}


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


def dump_config(config: Mapping[str, Any]) -> str:
    """The config as the text of a Python file that ``load_config`` reads back to an equal config."""
    return "".join(f"{key} = {_source(value, 0)}\n" for key, value in config.items())


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


def _files_of(path: Path, seen: tuple[Path, ...] = ()) -> Iterable[Path]:
    """A config file and all it is composed of."""
    if path in seen:
        raise ConfigError(f"{path}: builds on itself through {', '.join(file.name for file in seen)}")
    yield path
    for base in _bases_of(path):
        yield from _files_of(base, (*seen, path))


def _bases_of(path: Path) -> Iterable[Path]:
    for node in _parsed(path).body:
        if isinstance(node, ast.With) and "read_base" in ast.dump(node.items[0].context_expr):
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom) and statement.level:
                    folder = path.parents[statement.level - 1]
                    yield _existing(folder / f"{(statement.module or '').replace('.', '/')}.py", path, statement.lineno)
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_base_" for t in node.targets):
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if "::" not in base:
                    yield _existing((path.parent / base).resolve(), path, node.lineno)


def _existing(base: Path, path: Path, line: int) -> Path:
    if base.is_file():
        return base
    known = [file.stem for file in base.parent.glob("*.py")] if base.parent.is_dir() else []
    raise ConfigError(f"{path}, line {line}: builds on {base}, which does not exist{did_you_mean(base.stem, known)}")


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None


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


def _explain(error: Exception, path: Path) -> str:
    line = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path) or frame.filename in ("", "<string>") or "configs" in Path(frame.filename).parts:
            line = f", line {frame.lineno}"
            path = Path(frame.filename) if Path(frame.filename).is_file() else path
    if isinstance(error, RuntimeError) and not str(error):
        return f"{path}{line}: calls something imported; a config only names components, it does not build them"
    if isinstance(error, KeyError):
        return f"{path}{line}: {error} is not defined in the file or dict it is taken from"
    return f"{path}{line}: {type(error).__name__}: {error}"


def _plain(value: Any, path: str) -> Any:
    """Config data without MMEngine's classes; component classes become their registered names."""
    if isinstance(value, dict):
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items() if key != "_scope_"}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, f"{path}.{index}") for index, item in enumerate(value))
    if isinstance(value, (LazyObject, LazyAttr)):
        try:
            value = value.build()
        except Exception as error:  # importing a stranger's module may raise anything
            raise ConfigError(f"{path}: cannot import {value}: {type(error).__name__}: {error}") from error
    return _name_of(value) if isinstance(value, type) else value


def _name_of(component: type) -> str:
    for registry in REGISTRIES:
        ancestor: Any = registry
        while ancestor is not None:
            for name, registered in ancestor.module_dict.items():
                if registered is component:
                    return str(name)
            ancestor = ancestor.parent
    return f"{component.__module__}.{component.__qualname__}"


def _import_custom(custom_imports: Any) -> None:
    if not isinstance(custom_imports, dict):
        return
    names = custom_imports.get("imports", [])
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if not custom_imports.get("allow_failed_imports", False):
                raise ConfigError(
                    f"custom_imports.imports: cannot import {name!r}: {error}; it must be installed or on PYTHONPATH"
                ) from error
