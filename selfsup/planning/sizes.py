"""Sizes in bytes, as people write and read them."""

import re

from selfsup.errors import ConfigError

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"([\d.]+(?:e\d+)?)\s*([kmgt]i?)?(b|bytes?|bit|bits)?(/s)?", re.IGNORECASE)


def parse_size(text: str, path: str) -> float:
    """Bytes, or bytes a second, of words such as ``80GiB``, ``25GB/s`` and ``200Gbit/s``.

    Raises:
        ConfigError: if they are none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or not (number := float(found[1])) > 0:
        raise ConfigError.at(path, "must be a size such as 80GiB or 25GB/s", got=text)
    bits = 8 if (found[3] or "").lower().startswith("bit") else 1
    return number * _UNITS[(found[2] or "").lower()] / bits


def shown_size(size: float | None) -> str:
    """Of a size in bytes; None for one that is not known."""
    if size is None:
        return "unknown"
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"
