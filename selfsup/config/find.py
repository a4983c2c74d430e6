"""Where a config is: in the user's folders, among the packaged ones, or in an installed plugin."""

import difflib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import selfsup
from selfsup.errors import ConfigError, nearest
from selfsup.plugins import installed_plugins

_PACKAGE = Path(selfsup.__file__).parent
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where packaged configs are: inside an installed package, beside it in a checkout."""


OTHERS = ("eval/",)
"""Folders of configs that are no recipes of a training: tasks and evaluators alone."""


def config_names() -> list[str]:
    """The packaged recipes, as ``load_config`` takes them, without the ``_base_`` fragments."""
    return sorted(name for name in _packaged() if not name.startswith(OTHERS))


def _packaged() -> dict[str, Path]:
    return next((_configs_in(folder) for folder in CONFIG_FOLDERS if folder.is_dir()), {})


def plugin_configs() -> dict[str, Path]:
    """The configs of installed plugins, what is in the folder ``configs`` of a package, by ``package/name``."""
    found: dict[str, Path] = {}
    for package in dict.fromkeys(plugin.module.partition(".")[0] for plugin in installed_plugins()):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            configs = _configs_in(Path(place, "configs"))
            found |= {f"{package}/{name}": file for name, file in sorted(configs.items())}
    return found


def _configs_in(folder: Path) -> dict[str, Path]:
    """Configs by their path below a folder, without ``.py``; ``_base_``, ``__init__`` and studies are none."""
    files = {file.relative_to(folder): file for file in folder.rglob("*.py")}
    return {
        place.with_suffix("").as_posix(): file.resolve()
        for place, file in files.items()
        if not any(part.startswith("_") for part in place.parts) and place.parts[0] != "studies"
    }


def config_name(path_or_name: str | Path) -> str:
    """What to call a config: by its name if it is packaged or a plugin's, else by the path as it was given.

    Raises:
        ConfigError: if there is none.
    """
    path, known = find_config(path_or_name), {**_packaged(), **plugin_configs()}
    return next((name for name, file in known.items() if file == path), str(path_or_name))


def existing(path: Path) -> Path | None:
    """The file of a path that may lack its ``.py``."""
    files = (candidate for candidate in (path, Path(f"{path}.py")) if os.path.isfile(candidate))  # False for no name
    return next((file.resolve() for file in files), None)


def find_config(path_or_name: str | Path) -> Path:
    """The file that a path or name stands for; files of the current folder come before packaged configs.

    Raises:
        ConfigError: if there is none, with the nearest name.
    """
    wanted = Path(path_or_name).expanduser()
    return existing(wanted) or find_packaged(wanted, asked=str(path_or_name))


def find_packaged(wanted: str | Path, *, asked: str, also: Sequence[str] = ()) -> Path:
    """The config of a name, packaged or a plugin's, with or without ``configs/`` before it and ``.py`` behind it.

    Args:
        wanted: the name; what stands behind the last slash is enough where only one config has it.
        asked: how the message begins if there is none.
        also: other names that would have been right, for the message.

    Raises:
        ConfigError: if there is none, with the nearest name.
    """
    name = Path(wanted).as_posix().removeprefix("configs/").removesuffix(".py")
    for folder in CONFIG_FOLDERS:
        if (fragment := existing(folder / name)) is not None:
            return fragment
    known = {**_packaged(), **plugin_configs()}
    by_stem: dict[str, list[str]] = {}
    for full in known:
        by_stem.setdefault(full.split("/")[-1], []).append(full)
    if name in known or len(by_stem.get(name, ())) == 1:
        return known[name] if name in known else known[by_stem[name][0]]
    near = difflib.get_close_matches(name.split("/")[-1], by_stem, n=1, cutoff=0.6)
    hint = f"did you mean {by_stem[near[0]][-1]!r}?" if near else nearest(name, [*known, *also])
    raise ConfigError.at(str(asked), "no such file, and no packaged config has that name", expected=hint)
