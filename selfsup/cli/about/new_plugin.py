"""``selfsup new-plugin``: a package of one's own that adds a component, ready to install and to test."""

import argparse
import importlib.util
import keyword
import re
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from selfsup.errors import ConfigError, RegistryError
from selfsup.registry import BACKBONES

PLACEHOLDER = "package"
"""Stands for the plugin's name in the paths of the template."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("name", metavar="NAME", help="of the package to write, such as my_backbones")
    parser.add_argument(
        "--to", type=Path, default=Path(), metavar="DIR", help="where its folder goes (default: the current folder)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Write the skeleton of a plugin: a package with a backbone, a config that trains it, and tests."""
    folder = write_plugin(chosen.name, chosen.to)
    print(f"written to {folder}. Next:")
    print(f"  pip install -e {folder}")
    print(f"  python -m pytest {folder}")
    print(f"  selfsup show {component_name(chosen.name)}")
    print(f"  selfsup train {chosen.name}/{chosen.name}_scenes")
    return 0


def write_plugin(name: str, parent: Path) -> Path:
    """Write a plugin's folder.

    Args:
        name: of the package.
        parent: the folder that its folder goes into; made if it is not there.

    Returns:
        The folder.

    Raises:
        ConfigError: if the name cannot be a new package's, or the folder exists or cannot be written.
    """
    check_name(name)
    folder = parent / name
    if folder.exists():
        raise ConfigError.at(
            "new-plugin", f"{folder} exists already", expected="choose another name, or another place with --to"
        )
    words = {"package": name, "component": component_name(name), "distribution": name.replace("_", "-")}
    try:
        for path, text in _template(files("selfsup.cli") / "plugin_template", ()):
            target = folder.joinpath(*(part.replace(PLACEHOLDER, name) for part in path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(text).substitute(words), encoding="utf-8")
    except OSError as error:
        raise ConfigError.at(
            "--to", f"cannot write {folder} ({error.strerror})", expected="choose another place"
        ) from None
    return folder


def check_name(name: str) -> None:
    """Reject a name that Python cannot import, or that means something already.

    Raises:
        ConfigError: if it is one.
    """
    if not _can_be_a_package(name):
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        near = re.sub(r"[^A-Za-z0-9]+", "_", letters).strip("_")
        raise ConfigError.at(
            "new-plugin",
            "must be a name for a package of Python and pip: ASCII letters, digits and single underscores, a letter "
            "first and no underscore last",
            got=name,
            expected=f"did you mean {near!r}?" if _can_be_a_package(near) else "",
        )
    if importlib.util.find_spec(name) is not None:
        raise ConfigError.at(
            "new-plugin", "a module of this name is installed already", got=name, expected="choose another"
        )
    try:
        BACKBONES.find(component_name(name))
    except RegistryError:
        return
    raise ConfigError.at(
        "new-plugin", f"would register {component_name(name)!r}, which is taken", got=name, expected="choose another"
    )


def _can_be_a_package(name: str) -> bool:
    """Whether Python can import it and pip can install it with hyphens for its underscores."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", name) is not None and not keyword.iskeyword(name)


def component_name(name: str) -> str:
    """The class of the example in a package of that name: ``my_parts`` has ``MyPartsNet``."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_")) + "Net"


def _template(folder: Traversable, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _template(entry, (*place, entry.name))
        else:
            yield (*place, entry.name.removesuffix(".tmpl")), entry.read_text(encoding="utf-8")
