"""``selfsup show``: everything about one component."""

import argparse
import inspect
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from selfsup.config.annotations import spelled
from selfsup.config.signatures import signature_of
from selfsup.errors import Problem, RegistryError, nearest
from selfsup.plugins import provider_of
from selfsup.registry import KINDS, Registry, load_plugins, plugin_report

ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_CODE = re.compile(r"``(.+?)``")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Source|Example):")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("name", metavar="NAME", help="a name that `selfsup list` shows")


def run(chosen: argparse.Namespace) -> int:
    """Show a component: who provided it, where it is, its arguments and what it says of itself."""
    load_plugins()
    found = {kind: registry.find(chosen.name) for kind, registry in KINDS.items() if chosen.name in registry.names()}
    for registry in KINDS.values():
        if not found and registry.get(chosen.name) is not None:
            registry.find(chosen.name)  # says why it is not listed
    if not found:
        known = {name for registry in KINDS.values() for name in registry.names()}
        problem = Problem("show", f"no component is called {chosen.name!r}", expected=nearest(chosen.name, known))
        raise RegistryError(problem, note=plugin_report(problem.expected))
    console = Console(soft_wrap=True, highlight=False)
    for number, (kind, component) in enumerate(found.items()):
        if number:
            console.print()
        console.print(card(chosen.name, KINDS[kind], component))
    return 0


def card(name: str, registry: Registry, component: Any) -> Text:
    """The component's heading, its provider, module and place, its arguments one a line, and its docstring."""
    provider = provider_of(component)
    text = Text.assemble((name, "bold"), f", {registry.name}\n")
    for label, value in (("from", provider.origin), ("module", provider.module), ("file", provider.place)):
        text.append(f"{label:<8}{value}\n")
    text.append("\narguments\n", "bold")
    signature = signature_of(component)
    for argument_name, argument in signature.arguments.items():
        default = "" if argument.required else f" = {argument.default!r}"
        text.append(f"  {argument_name}", "cyan").append(f": {spelled(argument.annotation)}{default}\n")
    if signature.open:
        text.append("  and any others\n")
    elif not signature.arguments:
        text.append("  none\n")
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
