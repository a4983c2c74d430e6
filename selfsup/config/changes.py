"""What differs between the config that a run was saved with and the one that it is resumed with."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfsup.errors import shown

PLACES = ("work_dir", "load_from", "tune_allocator", "cudnn_benchmark", "budget")
"""Keys that say where a run is or came from or how it uses the machine, and nothing of what it computes."""

_SHOWN = 8  # changes named in a line


def plain(value: Any) -> Any:
    """A config of dicts, lists, tuples, texts, numbers and None alone; of anything else the text that shows it."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # of NumPy's numbers, and others that are numbers or texts too, no more than that
    return value if value is None else re.sub(" at 0x[0-9a-f]+", "", repr(value))  # the same in the next process


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """One line that names the paths at which two plain configs differ, ``path before -> now``; None if at none.

    What :data:`PLACES` names is left out, and so are the last of very many changes.
    """
    found = [f"{path} {shown(old)} -> {shown(new)}" for path, old, new in _differences(before, now, "")]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ", ".join([*found[:_SHOWN], *more]) or None


_UNSET = type("Unset", (), {"__repr__": lambda self: "unset"})()


def _differences(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*now, *before]):
            if path or key not in PLACES:
                inside = f"{path}.{key}" if path else key
                yield from _differences(before.get(key, _UNSET), now.get(key, _UNSET), inside)
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple) and len(before) == len(now):
        if any(isinstance(item, Mapping | list | tuple) for item in (*before, *now)):
            for number, (old, new) in enumerate(zip(before, now, strict=True)):
                yield from _differences(old, new, f"{path}[{number}]")
        elif list(before) != list(now):
            yield path, before, now
    elif before != now:
        yield path, before, now
