"""Third-party packages, found through the entry-point group ``selfsup.plugins``, and who provided a component.

A plugin is any importable module whose import registers components. The registries import plugins on the first name
that none of them knows, so that a run which does not need them never pays for them.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, entry_points, packages_distributions
from typing import Any

import selfsup

GROUP = "selfsup.plugins"


@dataclass(frozen=True)
class Plugin:
    """What an installed package offers under :data:`GROUP`.

    Args:
        name: the entry point's.
        module: the module whose import registers the components.
        package: the distribution it was installed with; empty if unknown.
        version: of the distribution; empty if unknown.
    """

    name: str
    module: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.name!r} ({' '.join([self.package, self.version]).strip() or self.module})"


def installed_plugins() -> list[Plugin]:
    """Every plugin of this environment, sorted by name so that all processes import them in one order."""
    found = [
        Plugin(
            point.name,
            point.module,
            point.dist.name if point.dist is not None else "",
            point.dist.version if point.dist is not None else "",
        )
        for point in entry_points(group=GROUP)
    ]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


_importing: ContextVar[Plugin | None] = ContextVar("_importing", default=None)


@contextmanager
def importing(plugin: Plugin) -> Iterator[None]:
    """What is registered inside is registered by ``plugin``."""
    token = _importing.set(plugin)
    try:
        yield
    finally:
        _importing.reset(token)


def being_imported() -> Plugin | None:
    """The plugin whose module is being imported just now."""
    return _importing.get()


@dataclass(frozen=True)
class Provider:
    """Where a component comes from.

    Args:
        package: the distribution; empty where a file belongs to none.
        version: of the distribution; empty likewise.
        module: dotted name.
        file: of the source; empty where there is none.
        line: of its first line in the file; 0 where there is none.
    """

    package: str
    version: str
    module: str
    file: str
    line: int

    @property
    def origin(self) -> str:
        """The package with its version, or the module where no package owns it."""
        return f"{self.package} {self.version}".strip() or self.module

    @property
    def place(self) -> str:
        """``file:line``, or the module where there is no source."""
        return f"{self.file}:{self.line}" if self.file else self.module


def provider_of(component: Any) -> Provider:
    """Who provided a class or function."""
    module = getattr(component, "__module__", None) or ""
    file, line = _source_of(component)
    return Provider(*_distribution_of(module.partition(".")[0]), module, file, line)


def _source_of(component: Any) -> tuple[str, int]:
    try:
        component = inspect.unwrap(component)  # such as a function under torch.no_grad
        file = inspect.getsourcefile(component) or ""
        return file, inspect.getsourcelines(component)[1] if file else 0
    except (OSError, TypeError):  # typed in, or built in C
        return "", 0


@cache
def _distribution_of(top_package: str) -> tuple[str, str]:
    """Name and version of the distribution that a top-level package belongs to, empty where there is none."""
    if top_package == selfsup.__name__:
        return selfsup.__name__, selfsup.__version__
    for plugin in installed_plugins():
        if plugin.package and plugin.module.partition(".")[0] == top_package:
            return plugin.package, plugin.version
    for name in (top_package, *packages_distributions().get(top_package, ())):
        try:
            found = distribution(name)
        except (PackageNotFoundError, ValueError):  # of another name; ValueError: an empty one
            continue
        return found.name, found.version
    return "", ""
