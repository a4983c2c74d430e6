"""Where a config is: in the user's folders, or among the packaged ones."""

import difflib
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
