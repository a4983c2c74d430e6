"""Where a config is: in the user's folders, among the packaged ones, or in an installed plugin."""

import difflib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import selfsup
from selfsup.errors import ConfigError, did_you_mean
from selfsup.plugins import installed_plugins

_PACKAGE = Path(selfsup.__file__).parent
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where packaged configs are: inside an installed package, beside it in a checkout."""


def config_names() -> list[str]:
    """The packaged configs, as ``load_config`` takes them, without the ``_base_`` fragments."""
    return next((sorted(_configs_in(folder)) for folder in CONFIG_FOLDERS if folder.is_dir()), [])


def plugin_configs() -> dict[str, Path]:
    """The configs of installed plugins: what is in the folder ``configs`` of a package, by ``package/name``.

    Nothing is imported for that.
    """
    found: dict[str, Path] = {}
    for package in dict.fromkeys(plugin.module.partition(".")[0] for plugin in installed_plugins()):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):  # half installed
            continue
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            configs = _configs_in(Path(place, "configs"))
            found |= {f"{package}/{name}": file for name, file in sorted(configs.items())}
    return found


def _configs_in(folder: Path) -> dict[str, Path]:
    """Configs by their path below a folder, without ``.py``; ``_base_`` and ``__init__`` are none."""
    files = {file.relative_to(folder): file for file in folder.rglob("*.py")}
    return {
        place.with_suffix("").as_posix(): file.resolve()
        for place, file in files.items()
        if not any(part.startswith("_") for part in place.parts)
    }


def config_name(path_or_name: str | Path) -> str:
    """What to call a config: by its name if it is packaged or a plugin's, else by the path as it was given.

    Raises:
        ConfigError: if there is none.
    """
    path = find_config(path_or_name)
    for folder in CONFIG_FOLDERS:
        if path.is_relative_to(folder.resolve()):
            return path.relative_to(folder.resolve()).with_suffix("").as_posix()
    return next((name for name, file in plugin_configs().items() if file == path), str(path_or_name))


def find_config(path_or_name: str | Path) -> Path:
    """The file that a path or name stands for; files of the current folder come before packaged configs.

    Raises:
        ConfigError: if there is none, with the nearest name.
    """
    wanted = Path(path_or_name).expanduser()
    for candidate in (wanted, Path(f"{wanted}.py")):
        if os.path.isfile(candidate):  # False, not an error, for what can be no name
            return candidate.resolve()
    return find_packaged(wanted, asked=str(path_or_name))


def find_packaged(wanted: str | Path, *, asked: str, also: Sequence[str] = ()) -> Path:
    """The config of a name, packaged or a plugin's, with or without ``configs/`` before it and ``.py`` behind it.

    Args:
        wanted: the name.
        asked: how the message begins if there is none.
        also: other names that would have been right, for the message.

    Raises:
        ConfigError: if there is none, with the nearest name.
    """
    parts = Path(wanted).parts
    name = Path(*parts[1:]) if parts[:1] == ("configs",) and len(parts) > 1 else Path(wanted)
    if name.name and not name.is_absolute():
        for folder in CONFIG_FOLDERS:
            for candidate in (folder / name, folder / f"{name}.py"):
                if os.path.isfile(candidate):
                    return candidate.resolve()
    of_plugins = plugin_configs()
    if (own := of_plugins.get(name.as_posix().removesuffix(".py"))) is not None:
        return own
    known = [*config_names(), *of_plugins]
    stem = name.as_posix().removesuffix(".py")
    same_stem = [known_name for known_name in known if known_name.split("/")[-1] == stem]
    if len(same_stem) == 1:
        return find_packaged(same_stem[0], asked=asked)
    raise ConfigError(f"{asked}: no such file, and no packaged config has that name{_nearest(stem, [*known, *also])}")


def _nearest(name: str, known: Sequence[str]) -> str:
    """``did_you_mean`` that also compares the part after the folder."""
    by_stem = {full.split("/")[-1]: full for full in known}
    near = difflib.get_close_matches(name.split("/")[-1], by_stem, n=1, cutoff=0.6)
    return f"; did you mean {by_stem[near[0]]!r}?" if near else did_you_mean(name, known)
