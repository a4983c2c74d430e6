"""Third-party packages, found through the entry-point group ``selfsup.plugins``.

A plugin is any importable module whose import registers components. Plugins are imported on the first name that no
registry knows, so that a run which does not need them never pays for them.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

GROUP = "selfsup.plugins"


@cache
def load_plugins() -> dict[str, Exception]:
    """Import every installed plugin once.

    Returns:
        The plugins whose import failed, by name, with what they raised: a broken plugin must not take down runs that
        do not need it, and must be named in those that might.
    """
    failures: dict[str, Exception] = {}
    for entry_point in entry_points(group=GROUP):
        try:
            import_module(entry_point.module)
        except Exception as error:  # whatever a stranger's module raises is reported by name, in the error it explains
            failures[entry_point.name] = error
    return failures
