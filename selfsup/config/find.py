"""Where a config is: in the user's folders, or among the packaged ones."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

import selfsup
from selfsup.errors import ConfigError, did_you_mean

_PACKAGE = Path(selfsup.__file__).parent
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where packaged configs are: inside an installed package, beside it in a checkout."""


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
    for candidate in (wanted, Path(f"{wanted}.py")):
        if os.path.isfile(candidate):  # False, not an error, for what can be no name
            return candidate.resolve()
    return find_packaged(wanted, asked=str(path_or_name))


def find_packaged(wanted: str | Path, *, asked: str, also: Sequence[str] = ()) -> Path:
    """The packaged config of a name, with or without ``configs/`` before it and ``.py`` behind it.

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
    known = config_names()
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
