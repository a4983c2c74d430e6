"""``selfsup show``: everything about one component, one config, or what authors inherit and call."""

import argparse
import ast
import inspect
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from selfsup.cli.about import authors
from selfsup.cli.about.configs import print_configs
from selfsup.config import config_names, dump_config, find_config, load_config, plugin_configs
from selfsup.config.annotations import spelled
from selfsup.config.signatures import signature_of
from selfsup.errors import ConfigError, Problem, RegistryError, nearest
from selfsup.plugins import provider_of
from selfsup.registry import KINDS, Registry, load_plugins, plugin_report

ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_CODE = re.compile(r"``(.+?)``")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Source|Example):")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "name", metavar="NAME", help="a component, a config, a base class or helper; 'configs' or 'bases' lists those"
    )


def run(chosen: argparse.Namespace) -> int:
    """Show what a name stands for: where it is, its arguments or settings and what it says of itself."""
    load_plugins()
    console = Console(soft_wrap=True, highlight=False)
    if chosen.name == "configs":
        print_configs()
        return 0
    if chosen.name == "bases":
        for name, room in authors.BASES.items():
            _, thing = authors.find(name) or (room, None)
            console.print(f"{name:<16}{room:<26}{_first_line(thing)}", markup=False)
        return 0
    found = {kind: registry.find(chosen.name) for kind, registry in KINDS.items() if chosen.name in registry.names()}
    if not found and (public := authors.find(chosen.name)) is not None:
        console.print(author_card(chosen.name, *public))
        return 0
    if not found and (file := _config_file(chosen.name)) is not None:
        print((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "It has no docstring.") + "\n")
        print(f"file    {file}\n\n{dump_config(load_config(chosen.name))}", end="")
        return 0
    for registry in KINDS.values():
        if not found and registry.get(chosen.name) is not None:
            registry.find(chosen.name)  # says why it is not listed
    if not found:
        known = {name for registry in KINDS.values() for name in registry.names()}
        hint = nearest(chosen.name, known | authors.known_names() | {*config_names(), *plugin_configs()})
        raise RegistryError(Problem("show", "nothing is called so", chosen.name, hint), note=plugin_report(hint))
    for number, (kind, component) in enumerate(found.items()):
        if number:
            console.print()
        console.print(card(chosen.name, KINDS[kind], component))
    return 0


def _config_file(name: str) -> Path | None:
    """The file of a config; None if there is none of that name."""
    try:
        return find_config(name)
    except ConfigError:
        return None


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def card(name: str, registry: Registry, component: Any) -> Text:
    """The component's heading, its provider, module and place, its arguments one a line, and its docstring."""
    text = _heading(name, registry.name, component)
    _append_arguments(text, component)
    return _with_docstring(text, component)


def author_card(name: str, room: str, thing: Any) -> Text:
    """The same of what authors import, with the methods of a class."""
    text = _heading(name, f"from {room} import {name}", thing)
    if not isinstance(thing, type) or ("__init__" in vars(thing) and not getattr(thing, "_is_protocol", False)):
        _append_arguments(text, thing)
    elif annotated := inspect.get_annotations(thing):
        text.append("\nattributes\n", "bold")
        for attribute, annotation in annotated.items():
            text.append(f"  {attribute}", "cyan").append(f": {spelled(annotation)}\n")
    if isinstance(thing, type) and (found := list(authors.members(thing))):
        text.append("\nmethods\n", "bold")
        for member, signature, says in found:
            text.append(f"  {member}", "cyan").append(f"{signature}\n")
            if says:
                text.append("      ").append(_styled(says)).append("\n")
    return _with_docstring(text, thing)


def _heading(name: str, what: str, thing: Any) -> Text:
    provider = provider_of(thing)
    text = Text.assemble((name, "bold"), f", {what}\n")
    for label, value in (("from", provider.origin), ("module", provider.module), ("file", provider.place)):
        text.append(f"{label:<8}{value}\n")
    return text


def _append_arguments(text: Text, component: Any) -> None:
    text.append("\narguments\n", "bold")
    signature = signature_of(component)
    for argument_name, argument in signature.arguments.items():
        default = "" if argument.required else f" = {argument.default!r}"
        text.append(f"  {argument_name}", "cyan").append(f": {spelled(argument.annotation)}{default}\n")
    if signature.open:
        text.append("  and any others\n")
    elif not signature.arguments:
        text.append("  none\n")


def _with_docstring(text: Text, component: Any) -> Text:
    text.append("\n")
    for line in (inspect.getdoc(component) or "It has no docstring.").splitlines():
        text.append(_styled(line)).append("\n")
    text.rstrip()
    return text


def _styled(line: str) -> Text:
    """A line of a docstring: headings bold, code colored, the marks of both left out."""
    line = ROLE.sub(r"``\1``", line)
    if _SECTION.match(line):
        heading, colon, rest = line.partition(":")
        return Text.assemble((heading + colon, "bold"), _styled(rest))
    text = Text()
    for number, part in enumerate(_CODE.split(line)):
        text.append(part, "cyan" if number % 2 else "")
    return text
